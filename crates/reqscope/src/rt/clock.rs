//! The clock in milliseconds.

use std::time::Duration;

use tokio::time::Instant;

use crate::rt::time;

/// A clock under a lock. It is tokio's, which tests can pause, in a form that takes half the memory. Most readings are in
/// the same millisecond as the one before, and need no conversion.
pub(crate) struct Clock {
    /// The instant of the moment [`EPOCH`]. Long before the clock was made, because a paused clock of tokio may be
    /// behind that of another runtime, or not before it where time begins with the machine.
    epoch: Instant,
    /// The first reading in its millisecond, and the end of that.
    first: Instant,
    end: Instant,
    /// The moment of the latest reading. A return takes it for its own time, which costs no reading, and at worst a
    /// validation that was not necessary, because clocks of several runtimes may be apart.
    pub(crate) moment: Moment,
}

/// A time of a [`Clock`], in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// How far the clocks of two runtimes may be apart.
const APART: Duration = Duration::from_secs(365 * 24 * 3600);

/// In milliseconds. No [`window`](Moment::window) reaches from here back to [`ZERO`](Moment::ZERO).
const EPOCH: u64 = 1000 * APART.as_secs();

/// In milliseconds.
const SKEW: u64 = 1000;

impl Clock {
    pub(crate) fn new() -> Self {
        let now = time::now();
        Self::with_epoch(now.checked_sub(2 * APART), now)
    }

    fn with_epoch(before: Option<Instant>, now: Instant) -> Self {
        Clock { epoch: before.unwrap_or(now), first: now, end: now, moment: Moment::ZERO }
    }

    pub(crate) fn now(&mut self) -> Moment {
        self.read(time::now())
    }

    /// Returns the moment of a reading of tokio's clock.
    #[inline]
    pub(crate) fn read(&mut self, now: Instant) -> Moment {
        if now < self.end && now >= self.first { self.moment } else { self.convert(now) }
    }

    #[inline(never)]
    fn convert(&mut self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.epoch);
        // `as_millis` computes with 128 bits.
        self.moment = Moment(EPOCH + since.as_secs() * 1000 + u64::from(since.subsec_millis()));
        (self.first, self.end) = (now, self.instant(self.moment).unwrap_or(now));
        self.moment
    }

    /// Returns the instant of a moment, no earlier than it. Returns `None` if that is never.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        self.epoch.checked_add(Duration::from_millis(moment.0.saturating_sub(EPOCH).saturating_add(1)))
    }
}

impl Moment {
    /// Before every moment of a clock.
    pub(crate) const ZERO: Moment = Moment(0);
    pub(crate) const NEVER: Moment = Moment(u64::MAX);

    /// Returns whether this moment is within a [`window`](Moment::window) before now. A moment in the future is not,
    /// because it is of a paused clock that ran ahead of this one, except for the time between a reading of the clock
    /// and its use.
    #[inline]
    pub(crate) fn is_within(self, window: u64, now: Moment) -> bool {
        (now.0 + SKEW).wrapping_sub(self.0) < window
    }

    pub(crate) fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns the moment after that time, rounded up. Without a time, that is never.
    #[inline]
    pub(crate) fn after(self, wait: impl Into<Option<Duration>>) -> Moment {
        Moment(self.0.saturating_add(wait.into().map_or(u64::MAX, Self::millis)))
    }

    /// Returns the argument of [`is_within`](Moment::is_within) for that time. No moment is within no time. No moment
    /// of a clock is as close to [`ZERO`](Moment::ZERO).
    pub(crate) fn window(time: Duration) -> u64 {
        if time.is_zero() { 0 } else { Self::millis(time.min(APART)) + SKEW }
    }

    /// Returns that time in milliseconds, rounded up.
    fn millis(time: Duration) -> u64 {
        u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: where no instant is before the start of the machine, moments began at 1, and a handle that was left open
    /// counted as proved for the first `validate_after` of its pool.
    #[test]
    fn no_window_reaches_back_to_a_handle_that_was_left_open() {
        let now = time::now();
        for before in [now.checked_sub(2 * APART), None] {
            let mut clock = Clock::with_epoch(before, now);
            let at = clock.read(now);
            assert!(!Moment::ZERO.is_within(Moment::window(Duration::MAX), at), "{at:?}");
        }
    }

    #[test]
    fn instant_of_a_moment_is_the_end_of_its_millisecond() {
        let now = time::now();
        for before in [now.checked_sub(2 * APART), None] {
            let mut clock = Clock::with_epoch(before, now);
            let moment = clock.read(now);
            assert!(clock.instant(moment).is_some_and(|end| end > now && end <= now + Duration::from_millis(1)));
        }
    }

    #[test]
    fn readings_are_numbered_by_their_milliseconds() {
        let began = time::now();
        let mut clock = Clock::with_epoch(None, began);
        let first = clock.read(began);
        for micros in [999, 1000, 1001, 1999, 2000, 500, 61_234_567, 61_234_000, 61_235_000] {
            let at = clock.read(began + Duration::from_micros(micros));
            assert_eq!(at.since(first), Duration::from_millis(micros / 1000), "after {micros} us");
        }
    }

    #[test]
    fn window_ends_before_its_time_and_reaches_a_second_ahead() {
        let (window, now) = (Moment::window(Duration::from_micros(9001)), Moment(100_000));
        for (moment, is_within) in [(99_990, false), (99_991, true), (101_000, true), (101_001, false)] {
            assert_eq!(Moment(moment).is_within(window, now), is_within, "{moment} at {now:?}");
        }
        assert!(!now.is_within(Moment::window(Duration::ZERO), now));
    }

    #[test]
    fn longest_window_is_a_year() {
        let (window, year) = (Moment::window(Duration::MAX), 365 * 86_400_000);
        let now = Moment(2 * year);
        assert!(Moment(year + 1).is_within(window, now) && !Moment(year).is_within(window, now));
    }
}
