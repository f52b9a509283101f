//! How long a server may owe a poll to a body that holds a handle.
//!
//! 1. The clock runs only while it is [`Owing`](Phase::Owing): the body could make progress, and the server does not
//!    poll it. It rests while the body waits for its own source, and while it is polled.
//! 2. The time that is left only grows when a frame is returned, and never beyond the timeout.
//! 3. As long as the settings stay, the deadline only moves to a later instant. A timer that is armed is therefore never
//!    too late. If it is too early, it is armed again when it fires.

use std::fmt;
use std::time::Duration;

use reqscope::Exit;
use tokio::time::Instant;

/// Long enough for any network that still works, and the usual limit on idle connections.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// In bytes per second. The slowest modem that is still in use takes more.
const DEFAULT_MIN_RATE: u64 = 240;

/// A frame counts as at least so many bytes, because its size is the application's choice, not the client's.
const SMALLEST_FRAME: u64 = 256;

/// A body whose frames the client does not take, or takes too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    /// The time for which the server did not ask for a frame.
    pub(crate) waited: Duration,
    /// The same, with what is left of earlier waits.
    pub(crate) behind: Duration,
    /// How the lease ends, or was about to end when the body stalled.
    pub(crate) exit: Exit,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waited, behind) = (self.waited.as_secs_f64(), self.behind.as_secs_f64());
        write!(
            f,
            "no frame of the response body was asked for in {waited:.1} s ({behind:.1} s behind the minimum rate in \
             all): the client does not read, or too slowly; the handle was released as {}{}; send smaller frames or \
             raise the stall timeout of the body",
            self.exit,
            if self.exit == Exit::Cancelled { "" } else { " before" },
        )
    }
}

/// What a poll of the body returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// A frame of this many bytes. The body has more of them.
    Frame(u64),
    /// Nothing: the body waits for its source.
    Pending,
    /// Nothing, because it was not a poll.
    Nothing,
    /// The end of the lease.
    End,
}

#[derive(Debug)]
pub(crate) struct Clock {
    /// `None` if there is no limit.
    timeout: Option<Duration>,
    /// In bytes per second; 0 if each frame pays for everything.
    min_rate: u64,
    /// For how much longer the server may owe a poll.
    left: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The body waits for its source, or was created outside of a runtime and has not been polled.
    Resting,
    /// The body is being polled; `woken` if its source has woken it meanwhile.
    Polling { woken: bool },
    /// The server owes a poll.
    Owing { since: Instant },
    /// The lease has ended.
    Ended,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock {
            timeout: Some(DEFAULT_TIMEOUT),
            min_rate: DEFAULT_MIN_RATE,
            left: DEFAULT_TIMEOUT,
            phase: Phase::Resting,
        }
    }

    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
        self.left = timeout.unwrap_or_default();
    }

    pub(crate) fn set_min_rate(&mut self, min_rate: u64) {
        self.min_rate = min_rate;
    }

    /// Returns the instant at which the body stalls unless it is polled before, if it can.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match (self.timeout, self.phase) {
            // A deadline that overflows the clock is practically none.
            (Some(_), Phase::Owing { since }) => since.checked_add(self.left),
            _ => None,
        }
    }

    pub(crate) fn begin_poll(&mut self, now: Instant) {
        match self.phase {
            Phase::Owing { since } => self.left = self.left.saturating_sub(now.saturating_duration_since(since)),
            Phase::Resting | Phase::Polling { .. } => {}
            Phase::Ended => return,
        }
        self.phase = Phase::Polling { woken: false };
    }

    pub(crate) fn end_poll(&mut self, now: Instant, polled: Polled) {
        let Phase::Polling { woken } = self.phase else { return };
        if let Polled::Frame(bytes) = polled {
            self.pay(bytes);
        }
        self.phase = match polled {
            Polled::End => Phase::Ended,
            Polled::Pending if !woken => Phase::Resting,
            Polled::Pending | Polled::Frame(_) | Polled::Nothing => Phase::Owing { since: now },
        };
    }

    /// The client has taken a frame, or will now: it has more time for the next.
    fn pay(&mut self, bytes: u64) {
        let timeout = self.timeout.unwrap_or_default();
        let seconds = bytes.max(SMALLEST_FRAME) as f64 / self.min_rate as f64; // infinite if there is no rate
        let paid = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.left = self.left.saturating_add(paid).min(timeout);
    }

    /// The source has woken the body. Returns whether the clock begins to run.
    pub(crate) fn wake(&mut self, now: impl FnOnce() -> Instant) -> bool {
        match &mut self.phase {
            Phase::Resting => {
                self.phase = Phase::Owing { since: now() };
                true
            }
            Phase::Polling { woken } => {
                *woken = true;
                false
            }
            Phase::Owing { .. } | Phase::Ended => false,
        }
    }

    /// Ends the clock if the body has stalled. `exit` is how its lease ends then.
    pub(crate) fn stall(&mut self, now: Instant, exit: Exit) -> Option<Stall> {
        let (Some(timeout), Phase::Owing { since }) = (self.timeout, self.phase) else { return None };
        let waited = now.saturating_duration_since(since);
        if waited < self.left {
            return None;
        }
        self.phase = Phase::Ended;
        Some(Stall { waited, behind: timeout.saturating_sub(self.left).saturating_add(waited), exit })
    }

    pub(crate) fn end(&mut self) {
        self.phase = Phase::Ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Scene {
        clock: Clock,
        now: Instant,
    }

    impl Scene {
        /// A body that was created now, on a runtime.
        fn new() -> Self {
            let mut scene = Scene { clock: Clock::new(), now: Instant::now() };
            scene.poll(Polled::Nothing);
            scene
        }

        fn poll(&mut self, polled: Polled) {
            self.clock.begin_poll(self.now);
            self.clock.end_poll(self.now, polled);
        }

        /// Lets time pass, and returns whether the body stalls.
        fn stalls_after(&mut self, time: Duration) -> bool {
            self.now += time;
            self.clock.stall(self.now, Exit::Cancelled).is_some()
        }

        /// Takes frames of this size, one after each `pause`, and returns after how many of them the body stalls.
        fn frames_until_stall(&mut self, bytes: u64, pause: Duration) -> Option<usize> {
            (0..1000).find(|_| {
                self.poll(Polled::Frame(bytes));
                self.stalls_after(pause)
            })
        }
    }

    #[test]
    fn body_never_polled_stalls_at_the_timeout() {
        let mut scene = Scene::new();
        assert!(!scene.stalls_after(DEFAULT_TIMEOUT - SECOND));
        assert!(scene.stalls_after(SECOND));
        assert!(!scene.stalls_after(DEFAULT_TIMEOUT), "once");
    }

    #[test]
    fn clock_rests_while_the_source_is_awaited() {
        let mut scene = Scene::new();
        scene.poll(Polled::Pending);
        assert!(!scene.stalls_after(100 * DEFAULT_TIMEOUT));
        assert!(scene.clock.wake(|| scene.now));
        assert!(!scene.clock.wake(|| unreachable!("it runs already")));
        assert!(!scene.stalls_after(DEFAULT_TIMEOUT - SECOND));
        assert!(scene.stalls_after(SECOND));
    }

    #[test]
    fn wake_during_the_poll_starts_the_clock() {
        let mut scene = Scene::new();
        scene.clock.begin_poll(scene.now);
        assert!(!scene.clock.wake(|| unreachable!("it is being polled")));
        scene.clock.end_poll(scene.now, Polled::Pending);
        assert!(scene.stalls_after(DEFAULT_TIMEOUT));
    }

    #[test]
    fn running_poll_never_stalls() {
        let mut scene = Scene::new();
        scene.clock.begin_poll(scene.now);
        assert!(!scene.stalls_after(100 * DEFAULT_TIMEOUT));
    }

    #[test]
    fn reader_above_the_rate_is_kept() {
        assert_eq!(Scene::new().frames_until_stall(8192, 8 * SECOND), None, "1 kB/s");
        assert_eq!(Scene::new().frames_until_stall(1, SECOND), None, "a small frame each second");
        assert_eq!(Scene::new().frames_until_stall(1 << 20, 29 * SECOND), None);
    }

    #[test]
    fn reader_below_the_rate_stalls() {
        assert_eq!(Scene::new().frames_until_stall(1000, 10 * SECOND), Some(4), "100 B/s");
        assert_eq!(Scene::new().frames_until_stall(1 << 20, 30 * SECOND), Some(0));
    }

    #[test]
    fn deadline_only_moves_to_a_later_instant() {
        let mut scene = Scene::new();
        let mut before = scene.clock.deadline().unwrap();
        for (polled, pause) in [(Polled::Frame(0), 9), (Polled::Pending, 3), (Polled::Frame(500), 9)] {
            scene.now += pause * SECOND;
            scene.poll(polled);
            scene.clock.wake(|| scene.now);
            let after = scene.clock.deadline().unwrap();
            assert!(after >= before);
            before = after;
        }
    }

    #[test]
    fn extreme_settings_neither_overflow_nor_stall_early() {
        let mut scene = Scene::new();
        scene.clock.set_timeout(Some(Duration::MAX));
        scene.clock.set_min_rate(1);
        scene.poll(Polled::Frame(u64::MAX));
        assert_eq!(scene.clock.deadline(), None);
        assert!(!scene.stalls_after(DEFAULT_TIMEOUT));
        scene.clock.set_min_rate(0);
        scene.poll(Polled::Frame(1));
        scene.clock.set_timeout(None);
        assert!(!scene.stalls_after(1000 * DEFAULT_TIMEOUT));
    }
}
