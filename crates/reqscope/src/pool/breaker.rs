//! The breaker: while the backend is down, it allows one creation at a time and refuses the others with the cause
//! (L18).
//!
//! No async, no clock, no random numbers: the time and the jitter are arguments. `E` is the error.
//!
//! | state     | `ask`                     | `failed`, own             | `succeeded`, any | `abandoned`, own |
//! |-----------|---------------------------|---------------------------|------------------|------------------|
//! | `Closed`  | go                        | few: → `Closed`, → `Open` | → `Closed`       | -                |
//! | `Open`    | refused; due: → `Probing` | -                         | → `Closed`       | -                |
//! | `Probing` | refused; overdue: → same  | → `Open`, later           | → `Closed`       | → `Open`, due    |
//!
//! The breaker opens at the third quick failure in a row, and at the first one for which trying again soon is pointless.
//!
//! An attempt is a state's own if there was no transition since it began. Each arrow is a transition, including those
//! from `Closed` to `Closed`. A failure of any other attempt only updates the last error.
//!
//! Invariants:
//!
//! 1. At most one probe of an outage is under way that is not overdue, and it began no earlier than it was due.
//! 2. Every success closes the breaker: a backend that has served one caller can serve the others.
//! 3. Attempts that began together and fail together count once. A failure of an attempt that began before a success
//!    says nothing about the time after it.
//! 4. The next probe is due 15 to 25 ms after a quick failure; after the *n*-th slow one in a row within
//!    `100 ms * 2^(n-1)`, at most 1 s.
//! 5. Every refusal has a cause, the latest failure. The latest failure is kept after the outage.
//! 6. No `E` is dropped in here, because that runs user code, and the pool's lock is held. `E::clone` only counts.

use std::time::Duration;

use tokio::time::Instant;

/// A failure within this time was an answer: the backend refuses or resets connections or is starting up, and may be
/// back at any moment.
const QUICK: Duration = Duration::from_millis(250);
/// So many quick failures in a row open the breaker. One refused connect happens on a healthy network; the callers that
/// wait for it try again within their deadlines.
const OPENS_AT: u32 = 3;
/// So many faults of returned handles may be reported within [`WINDOW`]. One connection that an administrator has killed
/// is no outage.
const FEW_FAULTS: usize = 3;
const WINDOW: Duration = Duration::from_secs(1);
/// With the jitter at most 25 ms: a backend that is back serves within 50 ms, including its first connect.
const SOON: Duration = Duration::from_millis(15);
/// The jitter, which spreads the processes that lost the backend at the same time.
const SOON_SPREAD: Duration = Duration::from_millis(10);
/// The first bound of the backoff after slow failures.
const FIRST: Duration = Duration::from_millis(100);
/// The last bound of the backoff. Callers should not wait much longer than the outage lasts.
const LONGEST: Duration = Duration::from_secs(1);
/// A year, which no clock overflows.
const NEVER: Duration = Duration::from_secs(31_536_000);

pub(super) struct Breaker<E> {
    /// When the next probe may begin. `None` while it is `Closed`.
    next: Option<Instant>,
    /// Whether a probe is under way. It has not ended in time when the next one may begin.
    probing: bool,
    /// Counts the transitions, to tell whether an attempt began before the last one (3).
    era: u64,
    /// The number of successes in a row.
    pub(super) successes: usize,
    /// The number of failures in a row while it is closed.
    failures: u32,
    /// The number of slow failures in a row.
    slow: u32,
    /// The times of the latest faults.
    faults: [Option<Instant>; FEW_FAULTS],
    last: Option<(E, Instant)>,
}

/// One creation, from the answer that allows it to its end. It is passed to exactly one of
/// [`succeeded`](Breaker::succeeded), [`failed`](Breaker::failed) and [`abandoned`](Breaker::abandoned). A probe that
/// is not passed back blocks all later ones until it is overdue.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Attempt {
    era: u64,
    began: Instant,
}

impl<E: Clone> Breaker<E> {
    pub(super) fn new() -> Self {
        let (next, faults, last) = (None, [None; FEW_FAULTS], None);
        Breaker { next, probing: false, era: 0, successes: 0, failures: 0, slow: 0, faults, last }
    }

    /// Asks whether the caller may begin a creation. If the breaker [is probing](Breaker::is_probing) after a yes, that
    /// creation is the probe, which is overdue after that time.
    ///
    /// # Errors
    ///
    /// The latest failure.
    pub(super) fn ask(&mut self, now: Instant, limit: Duration) -> Result<Attempt, E> {
        match (self.next, &self.last) {
            (Some(next), Some((cause, _))) if next > now => return Err(cause.clone()),
            (Some(_), _) => self.enter(Some(now + limit.min(NEVER)), true),
            (None, _) => {}
        }
        Ok(Attempt { era: self.era, began: now })
    }

    /// Reports a success.
    pub(super) fn succeeded(&mut self, _whichever: Attempt) {
        (self.slow, self.failures, self.successes) = (0, 0, self.successes.saturating_add(1));
        self.enter(None, false);
    }

    /// Reports a failure. `slow` is set if trying again soon is pointless however quick the failure was: for a timeout,
    /// or for a permanent error such as a wrong password, which a server may answer with a ban.
    ///
    /// `jitter` is a random number between 0 and 1. Returns the previous error, to be dropped outside of the lock.
    #[must_use = "drop the error outside of the lock"]
    pub(super) fn failed(&mut self, attempt: Attempt, now: Instant, slow: bool, error: E, jitter: f64) -> Option<E> {
        self.successes = 0;
        if attempt.era == self.era {
            let quick = !slow && now.saturating_duration_since(attempt.began) < QUICK;
            self.failures += 1;
            if quick && self.failures < OPENS_AT && !self.is_open() {
                // The attempts that began together with this one do not count again (3).
                self.enter(None, false);
            } else {
                self.open(now, quick, jitter);
            }
        }
        self.last.replace((error, now)).map(|(forgotten, _)| forgotten)
    }

    /// Reports why a handle that had served before became unusable. More than a few within a second count as a failed
    /// creation. Returns the previous error, to be dropped outside of the lock.
    #[must_use = "drop the error outside of the lock"]
    pub(super) fn fault(&mut self, now: Instant, error: E, jitter: f64) -> Option<E> {
        self.faults.rotate_left(1);
        let earliest = self.faults[FEW_FAULTS - 1].replace(now);
        let many = earliest.is_some_and(|at| now.saturating_duration_since(at) <= WINDOW);
        if many && !self.is_open() {
            self.faults = [None; FEW_FAULTS];
            self.open(now, true, jitter);
        }
        self.last.replace((error, now)).map(|(forgotten, _)| forgotten)
    }

    /// Reports an attempt that was dropped without an outcome, as with its runtime. The next caller may probe at once.
    pub(super) fn abandoned(&mut self, attempt: Attempt) {
        if self.is_probing() && attempt.era == self.era {
            self.enter(Some(attempt.began), false);
        }
    }

    /// Returns whether there is an outage, probed or not.
    pub(super) fn is_open(&self) -> bool {
        self.next.is_some()
    }

    /// Returns whether a probe is under way.
    pub(super) fn is_probing(&self) -> bool {
        self.probing
    }

    /// Returns the latest failure and its time, even if the backend has served since.
    pub(super) fn last_failure(&self) -> Option<(&E, Instant)> {
        self.last.as_ref().map(|(error, at)| (error, *at))
    }

    /// Opens for a pause. A quick failure also ends the backoff of slow ones, because the backend answers again.
    fn open(&mut self, now: Instant, quick: bool, jitter: f64) {
        let pause = if quick {
            self.slow = 0;
            SOON + SOON_SPREAD.mul_f64(jitter)
        } else {
            self.slow += 1;
            FIRST.saturating_mul(1 << (self.slow - 1).min(16)).min(LONGEST).mul_f64(jitter)
        };
        self.enter(Some(now + pause), false);
    }

    fn enter(&mut self, next: Option<Instant>, probing: bool) {
        self.era += 1;
        (self.next, self.probing) = (next, probing);
    }
}

#[cfg(test)]
mod tests;
