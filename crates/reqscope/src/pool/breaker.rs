//! The breaker: while the backend is down it lets one creation at a time through, and knows why for all others (L18).
//!
//! No async, no clock, no chance: the time and the fraction of the jitter are arguments. `E` is the error.
//!
//! | state     | `ask`                     | `failed`, own   | `succeeded`, any | `abandoned`, own |
//! |-----------|---------------------------|-----------------|------------------|------------------|
//! | `Closed`  | go                        | → `Open`        | → `Closed`       | -                |
//! | `Open`    | refused; due: → `Probing` | -               | → `Closed`       | -                |
//! | `Probing` | refused                   | → `Open`, later | → `Closed`       | → `Open`, due    |
//!
//! An attempt is the state's own if nothing has moved since it began; each arrow is a move, the one from `Closed` to
//! `Closed` too. When another one fails, its error is remembered, and that is all.
//!
//! Invariants:
//!
//! 1. At most one probe of an outage is under way, and it began no earlier than it was due.
//! 2. Whatever came before, a success closes: a backend that has served one serves the others.
//! 3. Attempts that began together and fail together count once. A failure of an attempt that began before a success
//!    came says nothing about the time after it.
//! 4. The next probe is due 15 to 25 ms after a quick failure; after the *n*-th slow one in a row within
//!    `100 ms * 2^(n-1)`, at most 1 s.
//! 5. There is a failure to tell whenever somebody is refused; it is the latest one, and it outlives the outage.
//! 6. No `E` is dropped in here, since that is foreign code and here is under a lock; `E::clone` is a count.

use std::time::Duration;

use tokio::time::Instant;

/// What fails in less was answered: the backend refuses, resets or is starting up, and may serve any moment.
const QUICK: Duration = Duration::from_millis(250);
/// With the spread, at most 25 ms: a backend that is back serves within 50 ms, its first connect included.
const SOON: Duration = Duration::from_millis(15);
/// Scatters the processes that lost the backend together.
const SOON_SPREAD: Duration = Duration::from_millis(10);
/// Where the backoff after slow failures begins.
const FIRST: Duration = Duration::from_millis(100);
/// Where it ends: nobody should sit out much more of an outage that is over.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) struct Breaker<E> {
    state: State,
    /// Counts the moves, so that each attempt knows whether it began before the last one (3).
    era: u64,
    /// Slow failures in a row.
    slow: u32,
    last: Option<(E, Instant)>,
}

#[derive(Clone, Copy)]
enum State {
    Closed,
    Open(Outage),
    Probing(Outage),
}

#[derive(Clone, Copy)]
struct Outage {
    since: Instant,
    /// When the next probe may begin, or could when the present one did.
    due: Instant,
}

/// One creation, from the answer that allowed it to its end. It goes back by exactly one of
/// [`succeeded`](Breaker::succeeded), [`failed`](Breaker::failed) and [`abandoned`](Breaker::abandoned); a probe that
/// is forgotten is the last one.
#[derive(Debug)]
#[must_use]
pub(super) struct Attempt {
    era: u64,
    began: Instant,
}

/// The answer to [`Breaker::ask`].
#[derive(Debug)]
#[must_use]
pub(super) enum Verdict<E> {
    /// Closed: create, like everybody who asks.
    Go(Attempt),
    /// Open and due: create, as the only one.
    Probe(Attempt),
    Refuse(Refusal<E>),
}

/// Why not.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal<E> {
    /// The latest failure.
    pub(super) cause: E,
    pub(super) failed_at: Instant,
    /// When the outage began.
    pub(super) since: Instant,
    /// When to ask again; `None` while a probe is under way.
    pub(super) next_probe: Option<Instant>,
}

impl<E: Clone> Breaker<E> {
    pub(super) fn new() -> Self {
        Breaker { state: State::Closed, era: 0, slow: 0, last: None }
    }

    /// May the caller begin to create?
    pub(super) fn ask(&mut self, now: Instant) -> Verdict<E> {
        match self.state {
            State::Closed => Verdict::Go(Attempt { era: self.era, began: now }),
            State::Open(outage) if now >= outage.due => {
                self.enter(State::Probing(outage));
                Verdict::Probe(Attempt { era: self.era, began: now })
            }
            State::Open(outage) => self.refuse(outage.since, Some(outage.due)),
            State::Probing(outage) => self.refuse(outage.since, None),
        }
    }

    /// It made one.
    pub(super) fn succeeded(&mut self, _whichever: Attempt) {
        self.slow = 0;
        self.enter(State::Closed);
    }

    /// It ended with this error. If it `backs_off`, trying again soon is no use however quick it was: a timeout, or
    /// an error that is permanent, like a wrong password, which a server may answer with a ban.
    ///
    /// `fraction` is by chance between 0 and 1. What is returned is to be dropped outside of the lock.
    #[must_use = "it is foreign, and to be dropped outside of the lock"]
    pub(super) fn failed(
        &mut self,
        attempt: Attempt,
        now: Instant,
        backs_off: bool,
        error: E,
        fraction: f64,
    ) -> Option<E> {
        if attempt.era == self.era {
            let since = match self.state {
                State::Closed => now,
                State::Open(outage) | State::Probing(outage) => outage.since,
            };
            let quick = !backs_off && now.saturating_duration_since(attempt.began) < QUICK;
            let due = now + self.pause(quick, fraction);
            self.enter(State::Open(Outage { since, due }));
        }
        self.last.replace((error, now)).map(|(forgotten, _)| forgotten)
    }

    /// It was dropped without an outcome, as when its runtime ended. The next caller may probe at once.
    pub(super) fn abandoned(&mut self, attempt: Attempt) {
        match self.state {
            State::Probing(outage) if attempt.era == self.era => self.enter(State::Open(outage)),
            _ => {}
        }
    }

    /// Whether there is an outage; also while it is probed.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    /// The latest failure and when it came, even if the backend has served since.
    pub(super) fn last_failure(&self) -> Option<(&E, Instant)> {
        self.last.as_ref().map(|(error, at)| (error, *at))
    }

    fn enter(&mut self, state: State) {
        self.era += 1;
        self.state = state;
    }

    /// A quick failure also ends the backoff of slow ones: somebody is there again to refuse.
    fn pause(&mut self, quick: bool, fraction: f64) -> Duration {
        if quick {
            self.slow = 0;
            return SOON + SOON_SPREAD.mul_f64(fraction);
        }
        let bound = FIRST.saturating_mul(1 << self.slow.min(16)).min(LONGEST);
        self.slow += 1;
        bound.mul_f64(fraction)
    }

    fn refuse(&self, since: Instant, next_probe: Option<Instant>) -> Verdict<E> {
        let (cause, failed_at) = self.last.clone().expect("only a failure opens the breaker (5)");
        Verdict::Refuse(Refusal { cause, failed_at, since, next_probe })
    }
}

#[cfg(test)]
mod tests;
