use std::fmt::Display;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Guard, Lazy, Resource, Scopes};
use tokio::time::{Instant, sleep, timeout};

use super::counting::{Counted, Counting, Mode};
use super::report::{Breach, Law, Verdict};
use crate::outcome::Outcome;
use crate::probe::{Probe, Verb};
use crate::records::{Counts, HandleState};
use crate::until::holds_within;

/// How long something may take that has to happen at all.
pub(super) const BOUND: Duration = Duration::from_secs(5);

/// How often the same fault is repeated on one resource: more often than a pool of the usual size has slots, so that a
/// slot lost each time stops the next acquire.
pub(super) const ROUNDS: usize = 12;

/// The last poll at which the suite cancels: a future that is polled again and again without end has shown enough.
pub(super) const MOST_POLLS: usize = 64;

/// All exits, from best to worst.
pub(super) const EXITS: [Exit; 4] = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked];

/// Creates fixtures of one resource under one law.
pub(super) struct Setup<'a, R> {
    pub(super) make: &'a dyn Fn(Probe) -> R,
    pub(super) law: Law,
}

/// One fresh resource, counted inside and outside.
pub(super) struct Fixture<R: Resource> {
    checker: Checker,
    pub(super) resource: Arc<Counting<R>>,
}

/// Checks a fixture from inside the resource, and creates the breaches of its law.
pub(super) struct Checker {
    law: Law,
    case: String,
    /// Counts nothing if `make` ignores it.
    pub(super) probe: Probe,
    /// The inner handles that arrived after their callers had been dropped.
    late: Mutex<Vec<u64>>,
}

pub(super) type LazyOf<R> = Lazy<Counting<R>>;
pub(super) type HandleOf<R> = Counted<<R as Resource>::Handle>;

/// Yields to tasks that are ready.
pub(super) async fn yield_a_few_times() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

impl<R: Resource> Setup<'_, R> {
    pub(super) fn fixture(&self, case: impl Into<String>) -> Fixture<R> {
        self.fixture_over(Probe::new(), Mode::Waiting, case)
    }

    /// Creates a fixture whose releases settle.
    pub(super) fn settling_fixture(&self, case: impl Into<String>) -> Fixture<R> {
        self.fixture_over(Probe::new(), Mode::Settling, case)
    }

    pub(super) fn fixture_over(&self, probe: Probe, mode: Mode, case: impl Into<String>) -> Fixture<R> {
        // So that each method has awaits to be cancelled at.
        for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
            probe.on(verb).always(Outcome::ok().after_polls(2));
        }
        let resource = Arc::new((self.make)(probe.clone()));
        let resource = Arc::new(Counting::new(resource, mode));
        let checker = Checker { law: self.law, case: case.into(), probe, late: Mutex::default() };
        Fixture { checker, resource }
    }
}

impl<R: Resource> Setup<'_, R> {
    /// Returns whether the resource acquires from the probe. If it does not, the suite cannot hold it up inside.
    pub(super) async fn uses_the_probe(&self) -> bool {
        let fixture = self.fixture("an acquire");
        if let Ok(handle) = fixture.acquire().await {
            drop(fixture.release(handle, Exit::Completed).await);
        }
        fixture.inside().acquires > 0
    }
}

impl<R: Resource> Deref for Fixture<R> {
    type Target = Checker;

    fn deref(&self) -> &Checker {
        &self.checker
    }
}

impl Checker {
    pub(super) fn breach<T>(&self, seen: impl Into<String>) -> Result<T, Breach> {
        self.breach_of(self.law, seen)
    }

    pub(super) fn breach_of<T>(&self, law: Law, seen: impl Into<String>) -> Result<T, Breach> {
        Err(Breach { law, case: self.case.clone(), seen: seen.into() })
    }

    pub(super) fn expect(&self, holds: bool, otherwise: impl Into<String>) -> Verdict {
        if holds { Ok(()) } else { self.breach(otherwise) }
    }

    pub(super) fn inside(&self) -> Counts {
        self.probe.counts()
    }

    /// Waits for a future that has to end.
    pub(super) async fn within<F: Future>(&self, what: &str, future: F) -> Result<F::Output, Breach> {
        match timeout(BOUND, future).await {
            Ok(output) => Ok(output),
            Err(_) => self.breach(format!("{what} did not end within {BOUND:?}")),
        }
    }

    /// Waits for a condition that has to hold.
    pub(super) async fn until(&self, otherwise: &str, condition: impl FnMut() -> bool) -> Verdict {
        self.expect(holds_within(BOUND, condition).await, format!("{otherwise} within {BOUND:?}"))
    }

    /// Expects a success.
    pub(super) fn success<T, E: Display>(&self, what: &str, answer: Result<T, E>) -> Result<T, Breach> {
        answer.or_else(|error| self.breach(format!("{what} failed: {error}")))
    }

    /// Checks the handles after a caller was cancelled, when those that arrive all the same have arrived.
    pub(super) async fn after_cancel(&self) -> Verdict {
        let made = self.inside().acquired;
        yield_a_few_times().await; // a task that was spawned for it has begun by now
        // An acquisition that never ends is not judged here: a pool may go on with it for another caller.
        holds_within(BOUND, || self.inside().acquiring == 0).await;
        yield_a_few_times().await;
        self.late.lock().extend(made..self.inside().acquired);
        self.expect_none(HandleState::Abandoned, 0, "was dropped without a release")
    }

    /// Expects at most `allowed` handles in this state.
    fn expect_none(&self, state: HandleState, allowed: usize, how: &str) -> Verdict {
        let mut met = (0..self.inside().acquired).filter(|id| self.probe.record(*id).state == state);
        let Some(id) = met.nth(allowed) else { return Ok(()) };
        if self.late.lock().contains(&id) {
            self.breach_of(Law::L6, format!("handle {id} arrived after its caller had been dropped, and {how}"))
        } else {
            self.breach(format!("handle {id} {how}"))
        }
    }

    /// Checks what the resource has left behind, after its drop.
    async fn check_records(&self, abandoned: usize) -> Verdict {
        holds_within(BOUND, || self.inside().live() == 0 && self.inside().acquiring == 0).await;
        let counts = self.inside();
        let never = |count: u64, law: Law, what: &str| match count {
            0 => Ok(()),
            _ => self.breach_of(law, what),
        };
        never(counts.double_released, Law::L1, "a handle was released twice")?;
        never(counts.used_after_release, Law::L8, "a handle was used after its release")?;
        never(counts.used_in_doubt, Law::L14, "a handle was used in doubt")?;
        self.expect_none(HandleState::Live, 0, "was never released")?;
        self.expect_none(HandleState::Abandoned, abandoned, "was dropped without a release")
    }
}

impl<R: Resource> Fixture<R> {
    /// Borrows a handle.
    pub(super) async fn get(&self, lazy: &LazyOf<R>) -> Result<Guard<Counting<R>>, Breach> {
        let answer = self.within("get", lazy.get()).await?;
        self.success("get", answer)
    }

    /// Waits until the scopes are idle.
    pub(super) async fn drained(&self, scopes: &Scopes) -> Verdict {
        let report = scopes.drain(BOUND).await;
        self.expect(report.open_scopes == 0 && report.live == 0, format!("the drain was not complete: {report:?}"))
    }

    /// Returns the exits of the first handle of this fixture, once the scopes are idle.
    pub(super) async fn exits(&self, scopes: &Scopes) -> Result<Vec<Exit>, Breach> {
        self.drained(scopes).await?;
        Ok(self.resource.records.record(0).exits)
    }

    pub(super) fn counts(&self) -> Counts {
        self.resource.records.counts()
    }

    pub(super) async fn acquire(&self) -> Result<HandleOf<R>, Breach> {
        let answer: Result<_, Error<R::Cause>> = self.within("acquire", self.resource.acquire()).await?;
        self.success("acquire", answer)
    }

    pub(super) async fn release(&self, handle: HandleOf<R>, exit: Exit) -> Verdict {
        let answer = self.within("release", self.resource.release(handle, exit)).await?;
        self.success("release", answer)
    }

    /// Expects that one handle can be acquired and released.
    pub(super) async fn still_works(&self) -> Verdict {
        let handle = self.acquire().await?;
        self.release(handle, Exit::Completed).await
    }

    /// Expects the same after acquisitions have failed. A pool spares a backend that has just refused, and fails fast
    /// for a while without asking it (L18).
    pub(super) async fn works_again(&self) -> Verdict {
        let began = Instant::now();
        loop {
            match self.within("acquire", self.resource.acquire()).await? {
                Ok(handle) => return self.release(handle, Exit::Completed).await,
                Err(error) if began.elapsed() >= BOUND => {
                    return self.breach(format!("acquire still failed after {BOUND:?}: {error}"));
                }
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Drops the resource, and checks the records on both sides. The caller has dropped before what keeps the resource,
    /// as a cell does.
    pub(super) async fn end(self) -> Verdict {
        self.end_with_abandoned(0).await
    }

    /// Ends like `end`, where up to `abandoned` handles were cancelled in the middle of their release, on purpose.
    pub(super) async fn end_with_abandoned(self, abandoned: usize) -> Verdict {
        holds_within(BOUND, || self.counts().live() == 0 && self.counts().acquiring == 0).await;
        let Fixture { checker, resource } = self;
        let counts = resource.records.counts();
        drop(resource);
        // What the resource has done inside comes first: it explains what is seen outside.
        checker.check_records(abandoned).await?;
        if counts.double_released > 0 {
            return checker.breach_of(Law::L1, "a handle was released twice");
        }
        checker.expect(counts.live() == 0, "a handle was acquired and never released")?;
        checker.expect(counts.abandoned <= abandoned as u64, "a handle was dropped instead of released")
    }
}
