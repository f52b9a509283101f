use std::fmt::Display;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Guard, Lazy, Resource, Scopes};
use tokio::time::{Instant, sleep, timeout};

use super::Laws;
use super::census::{Census, Surplus};
use super::counting::{Counted, Counting, Mode};
use super::limits::BOUND;
use super::operation::Operate;
use super::report::{Breach, Law, Verdict};
use crate::outcome::Outcome;
use crate::poll::cancel_at;
use crate::probe::{Probe, Verb};
use crate::records::{Counts, HandleState};
use crate::until::holds_within;

/// All exits, from best to worst.
pub(super) const EXITS: [Exit; 4] = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked];

/// What to do if an acquire never ends.
const ACQUIRE_HUNG: &str = "look for a slot that a cut call has lost, and for a `make` that does not create a resource \
                            of its own for each case, so that the handle of an earlier case is still out";

/// What to do if another call never ends.
const CALL_HUNG: &str = "give the wait for the backend a timeout of its own, after which the handle is closed";

/// What to do about a handle that a cut call has left open at the server.
const LEFT_OPEN: &str =
    "give what an acquire has half made an owner whose `Drop` closes it, such as a `Lease` or a guard";

/// Creates fixtures of one resource under one law.
pub(super) struct Setup<'a, R: Resource> {
    pub(super) laws: &'a Laws<'a, R>,
    pub(super) law: Law,
}

/// One fresh resource, counted inside and outside.
pub(super) struct Fixture<'a, R: Resource> {
    checker: Checker<'a>,
    pub(super) resource: Arc<Counting<R>>,
}

/// Checks a fixture from inside the resource, and creates the breaches of its law.
pub(super) struct Checker<'a> {
    law: Law,
    case: String,
    census: Option<&'a Census<'a>>,
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

impl<'a, R: Resource> Setup<'a, R> {
    pub(super) fn fixture(&self, case: impl Into<String>) -> Fixture<'a, R> {
        self.fixture_over(Probe::new(), Mode::Waiting, case)
    }

    /// Creates a fixture whose releases settle.
    pub(super) fn settling_fixture(&self, case: impl Into<String>) -> Fixture<'a, R> {
        self.fixture_over(Probe::new(), Mode::Settling, case)
    }

    pub(super) fn fixture_over(&self, probe: Probe, mode: Mode, case: impl Into<String>) -> Fixture<'a, R> {
        // So that each method has awaits to be cancelled at.
        for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
            probe.on(verb).always(Outcome::ok().after_polls(2));
        }
        let resource = Arc::new((self.laws.make)(probe.clone()));
        let resource = Arc::new(Counting::new(resource, mode));
        let checker = Checker {
            law: self.law,
            case: case.into(),
            census: self.laws.census.as_ref(),
            probe,
            late: Mutex::default(),
        };
        Fixture { checker, resource }
    }

    /// Returns what a user does with a handle, if the suite knows it.
    pub(super) fn operation(&self) -> Option<&'a dyn Operate<R::Handle>> {
        self.laws.operation.as_deref()
    }

    /// Returns the number of a new user. No other case has it, so that a backend that keeps state confuses none.
    pub(super) fn next_user(&self) -> u32 {
        let user = self.laws.users.get() + 1;
        self.laws.users.set(user);
        user
    }

    /// Returns whether the resource acquires from the probe. If it does not, the suite cannot hold it up inside.
    pub(super) async fn uses_the_probe(&self) -> bool {
        let fixture = self.fixture("an acquire");
        if let Ok(handle) = fixture.acquire().await {
            drop(fixture.release(handle, Exit::Completed).await);
        }
        fixture.inside().acquires > 0
    }
}

impl<'a, R: Resource> Deref for Fixture<'a, R> {
    type Target = Checker<'a>;

    fn deref(&self) -> &Checker<'a> {
        &self.checker
    }
}

impl<'a> Checker<'a> {
    pub(super) fn breach<T>(&self, seen: impl Into<String>) -> Result<T, Breach> {
        self.breach_of(self.law, seen)
    }

    pub(super) fn breach_of<T>(&self, law: Law, seen: impl Into<String>) -> Result<T, Breach> {
        Err(Breach::new(law, &*self.case, seen))
    }

    pub(super) fn expect(&self, holds: bool, otherwise: impl Into<String>) -> Verdict {
        if holds { Ok(()) } else { self.breach(otherwise) }
    }

    pub(super) fn inside(&self) -> Counts {
        self.probe.counts()
    }

    /// Waits for a future that has to end. One that does not end would do the same in other cases, so the run ends.
    pub(super) async fn within<F: Future>(&self, what: &str, future: F) -> Result<F::Output, Breach> {
        match timeout(BOUND, future).await {
            Ok(output) => Ok(output),
            Err(_elapsed) => self.hung(what),
        }
    }

    /// Cancels a future at this poll, and returns `None`, or its output if it ends before.
    pub(super) async fn cut<F: Future>(
        &self,
        what: &str,
        polls: usize,
        future: F,
    ) -> Result<Option<F::Output>, Breach> {
        let began = Instant::now();
        let output = self.within(what, cancel_at(polls, future)).await?;
        // A timeout polls its future a last time. A future that hangs has counted that as its last poll.
        if output.is_none() && began.elapsed() >= BOUND { self.hung(what) } else { Ok(output) }
    }

    fn hung<T>(&self, what: &str) -> Result<T, Breach> {
        let breach = Breach::new(self.law, &*self.case, format!("{what} did not end within {BOUND:?}"));
        let acquires = what.contains("acquire") || what == "get";
        Err(breach.ending_the_run().advise(if acquires { ACQUIRE_HUNG } else { CALL_HUNG }))
    }

    pub(super) fn census(&self) -> Option<&'a Census<'a>> {
        self.census
    }

    /// Returns the result of a census, or the breach that it shows.
    pub(super) fn counted<T>(&self, counted: Result<T, Surplus>) -> Result<T, Breach> {
        counted.map_err(|surplus| surplus_breach(self.law, &self.case, &surplus))
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

/// Describes what a census found. One leak shows itself in many cases, whatever their law.
pub(super) fn surplus_breach(law: Law, case: &str, surplus: &Surplus) -> Breach {
    match surplus {
        Surplus::Open { now, start } => {
            let seen = format!("the census counts {now} open handles, and counted {start} before");
            Breach::new(law, case, seen).of_any_law().advise(LEFT_OPEN)
        }
        Surplus::Hung => Breach::new(law, case, format!("the census did not end within {BOUND:?}")).ending_the_run(),
    }
}

impl<R: Resource> Fixture<'_, R> {
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
        let answer = self.try_release(handle, exit).await?;
        self.success("release", answer)
    }

    /// Releases a handle where the release may fail, but has to end.
    pub(super) async fn try_release(
        &self,
        handle: HandleOf<R>,
        exit: Exit,
    ) -> Result<Result<(), Error<R::Cause>>, Breach> {
        self.within("release", self.resource.release(handle, exit)).await
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
        checker.expect(counts.abandoned <= abandoned as u64, "a handle was dropped instead of released")?;
        match checker.census {
            Some(census) => checker.counted(census.at_start().await),
            None => Ok(()),
        }
    }
}
