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

/// How long anything may take that has to happen at all.
pub(super) const BOUND: Duration = Duration::from_secs(5);

/// How often the same mishap is repeated on one resource: more often than a pool of the usual size has slots, so
/// that a slot lost each time stops the next acquire.
pub(super) const ROUNDS: usize = 12;

/// Beyond this many polls the suite does not cut: a future that is polled again and again without an end in
/// sight has shown what it can.
pub(super) const MOST_POLLS: usize = 64;

/// All four, in the order of their badness.
pub(super) const EXITS: [Exit; 4] = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked];

/// Makes trials of one resource under one law.
pub(super) struct Setup<'a, R> {
    pub(super) make: &'a dyn Fn(Probe) -> R,
    pub(super) law: Law,
}

/// One resource, fresh, counted on both sides.
pub(super) struct Fixture<R: Resource> {
    checker: Checker,
    pub(super) resource: Arc<Counting<R>>,
}

/// Sees the trial from inside, and tells the breaches of its law.
pub(super) struct Checker {
    law: Law,
    case: String,
    /// It has counted nothing if `make` ignores it.
    pub(super) probe: Probe,
    /// The inner handles that arrived after whoever wanted them had gone.
    late: Mutex<Vec<u64>>,
}

pub(super) type LazyOf<R> = Lazy<Counting<R>>;
pub(super) type HandleOf<R> = Counted<<R as Resource>::Handle>;

/// Lets everything run that is ready to.
pub(super) async fn yield_a_few_times() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

impl<R: Resource> Setup<'_, R> {
    pub(super) fn fixture(&self, case: impl Into<String>) -> Fixture<R> {
        self.fixture_over(Probe::new(), Mode::Waiting, case)
    }

    /// One whose release matters to the client.
    pub(super) fn settling_fixture(&self, case: impl Into<String>) -> Fixture<R> {
        self.fixture_over(Probe::new(), Mode::Settling, case)
    }

    pub(super) fn fixture_over(&self, probe: Probe, mode: Mode, case: impl Into<String>) -> Fixture<R> {
        // Each verb has awaits to be cut at.
        for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
            probe.on(verb).always(Outcome::ok().after_polls(2));
        }
        let resource = Arc::new((self.make)(probe.clone()));
        let resource = Arc::new(Counting::new(resource, mode));
        let checker = Checker { law: self.law, case: case.into(), probe, late: Mutex::default() };
        Fixture { checker, resource }
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

    /// Waits for what has to end.
    pub(super) async fn within<F: Future>(&self, what: &str, future: F) -> Result<F::Output, Breach> {
        match timeout(BOUND, future).await {
            Ok(output) => Ok(output),
            Err(_) => self.breach(format!("{what} did not end within {BOUND:?}")),
        }
    }

    /// Waits for what has to come true.
    pub(super) async fn until(&self, otherwise: &str, condition: impl FnMut() -> bool) -> Verdict {
        self.expect(holds_within(BOUND, condition).await, format!("{otherwise} within {BOUND:?}"))
    }

    /// An answer that has to be a success.
    pub(super) fn success<T, E: Display>(&self, what: &str, answer: Result<T, E>) -> Result<T, Breach> {
        answer.or_else(|error| self.breach(format!("{what} failed: {error}")))
    }

    /// Somebody who wanted a handle has gone. Waits for those that arrive all the same, and looks after all.
    pub(super) async fn after_cancel(&self) -> Verdict {
        let made = self.inside().acquired;
        yield_a_few_times().await; // a task that was spawned for it has begun by now
        // One that never comes to an end is not judged here: a pool may go on making it for somebody else.
        holds_within(BOUND, || self.inside().acquiring == 0).await;
        yield_a_few_times().await;
        self.late.lock().extend(made..self.inside().acquired);
        self.none_is(HandleState::Abandoned, 0, "was dropped without a release")
    }

    /// At most `allowed` handles have met this fate.
    fn none_is(&self, state: HandleState, allowed: usize, how: &str) -> Verdict {
        let mut met = (0..self.inside().acquired).filter(|id| self.probe.record(*id).state == state);
        let Some(id) = met.nth(allowed) else { return Ok(()) };
        if self.late.lock().contains(&id) {
            self.breach_of(Law::L6, format!("handle {id} arrived for nobody and {how}"))
        } else {
            self.breach(format!("handle {id} {how}"))
        }
    }

    /// The resource is gone: all that it had made has to be gone, too.
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
        self.none_is(HandleState::Live, 0, "was never released")?;
        self.none_is(HandleState::Abandoned, abandoned, "was dropped without a release")
    }
}

impl<R: Resource> Fixture<R> {
    /// A borrowed handle.
    pub(super) async fn get(&self, lazy: &LazyOf<R>) -> Result<Guard<Counting<R>>, Breach> {
        let answer = self.within("get", lazy.get()).await?;
        self.success("get", answer)
    }

    /// Waits until the scopes are idle.
    pub(super) async fn drained(&self, scopes: &Scopes) -> Verdict {
        let report = scopes.drain(BOUND).await;
        self.expect(report.open_scopes == 0 && report.live == 0, format!("the drain left something: {report:?}"))
    }

    /// What the first handle of this trial was told, once the scopes are idle.
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

    /// It works: one handle can be had and given back.
    pub(super) async fn still_works(&self) -> Verdict {
        let handle = self.acquire().await?;
        self.release(handle, Exit::Completed).await
    }

    /// The same, after acquisitions have failed. A pool spares a backend that has just refused, and refuses itself for a
    /// while without asking (L18); but not for long.
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

    /// Ends the fixture: the resource goes, and then the books have to balance on both sides. Whatever keeps the
    /// resource (a cell does) has to be gone by then.
    pub(super) async fn end(self) -> Verdict {
        self.end_with_abandoned(0).await
    }

    /// The same where up to `abandoned` handles were cut in the middle of their release, on purpose.
    pub(super) async fn end_with_abandoned(self, abandoned: usize) -> Verdict {
        holds_within(BOUND, || self.counts().live() == 0 && self.counts().acquiring == 0).await;
        let Fixture { checker, resource } = self;
        let counts = resource.records.counts();
        drop(resource);
        // The resource's own doing first: it explains what is seen outside.
        checker.check_records(abandoned).await?;
        if counts.double_released > 0 {
            return checker.breach_of(Law::L1, "a handle was given back twice");
        }
        checker.expect(counts.live() == 0, "a handle was acquired and never given back")?;
        checker.expect(counts.abandoned <= abandoned as u64, "a handle was dropped instead of given back")
    }
}
