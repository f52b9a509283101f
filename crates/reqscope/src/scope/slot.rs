use std::any::{Any, type_name};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::cell::waiters::WaiterId;
use crate::cell::{Cell, Found, HandleState, NotGivenUp, Phase, Returned, Site, Take, WaitFor};
use crate::error::Error;
use crate::exit::Exit;
use crate::lease::acquire::{self, Acquisition, GRACE, PendingAttempt, Sink, TryAcquire, is_lost};
use crate::lease::context::{AcquireContext, Origin};
use crate::lease::{Caller, Lease, Release, end, probe_or_dead};
use crate::observer::Subject;
use crate::reaper::account::{Account, Acquiring};
use crate::resource::{Health, Resource};
use crate::rt::catch::{self, QuietArc};
use crate::rt::runtime::AbortHandle;
use crate::rt::time::Deadline;
use crate::scope::close_error::Problem;
use crate::scope::erased::{ErasedRelease, ErasedSlot, Sealing};
use crate::scope::state::StateRef;

type SlotCell<R> = Cell<<R as Resource>::Handle, Account<R>, Error<<R as Resource>::Cause>, AbortHandle>;

/// The slot of one resource in one scope: the state machine of the cell, and all that it needs around it.
pub(crate) struct Slot<R: Resource> {
    pub(crate) cell: SlotCell<R>,
    pub(crate) scope: StateRef,
    resource: QuietArc<R>,
}

/// How long a waiter waits for another one that has been woken but is not polled (L5).
const TURN: Duration = Duration::from_millis(10);

/// The result of [`Slot::try_take`].
pub(crate) enum TryGet<R: Resource> {
    Lent(R::Handle),
    Failed(Error<R::Cause>),
    /// An attempt has begun, and may have to wait.
    Started(PendingAttempt),
    /// The handle is lent or being acquired, there are waiters, or the cell is closed.
    Busy,
}

impl<R: Resource> Slot<R> {
    pub(crate) fn new(scope: &StateRef, resource: &Arc<R>) -> Self {
        Self::around(Cell::new(), scope, resource)
    }

    /// Creates the slot of a closed scope, from which no caller gets a handle.
    pub(crate) fn closed(scope: &StateRef, resource: &Arc<R>) -> Self {
        Self::around(Cell::closed(), scope, resource)
    }

    fn around(cell: SlotCell<R>, scope: &StateRef, resource: &Arc<R>) -> Self {
        Slot { cell, scope: scope.clone(), resource: QuietArc::new(resource) }
    }

    /// Takes a handle without waiting, if possible. Waiters come first, unless the caller may `overtake` them.
    #[inline]
    pub(crate) fn try_take(&self, overtake: bool, site: Site) -> TryGet<R> {
        match self.cell.try_take(overtake, site) {
            Some(Take::Lent(handle)) => TryGet::Lent(handle),
            Some(Take::Begin(number)) => self.try_make(number, site),
            _ => TryGet::Busy,
        }
    }

    /// Runs the first half of an attempt, which acquires a handle without waiting. For a caller that was a waiter.
    #[cold]
    pub(crate) fn try_make_late(&self, number: u32, site: Site) -> TryGet<R> {
        self.try_make(number, site)
    }

    #[inline(always)]
    fn try_make(&self, number: u32, site: Site) -> TryGet<R> {
        let origin = Origin { taken_at: site, scope: Some(self.scope.id) };
        let shard = Arc::clone(self.scope.accounting());
        let context = AcquireContext { shard, details: self.scope.details(), origin };
        match Acquisition::<R>::try_acquire(&self.resource, context) {
            TryAcquire::Acquired(handle, context) => {
                self.lend_out(number, handle, context.open(Duration::ZERO), site)
            }
            TryAcquire::Failed(error) => self.failed(number, error),
            TryAcquire::NotReady(context) => self.wait(number, context),
        }
    }

    /// Counts an attempt that has to wait, unless the scope has been closed. From here on it is not an orphan, so it is
    /// counted first: a drain must not end between the two.
    #[cold]
    fn wait(&self, number: u32, context: AcquireContext) -> TryGet<R> {
        let counted = Acquiring::begin(self.scope.accounting());
        if self.cell.wait(number) {
            return TryGet::Started(PendingAttempt { number, counted, context });
        }
        drop(self.orphan(number));
        TryGet::Busy
    }

    /// Returns the count of an attempt that the seal has orphaned, to be dropped when nothing of the attempt is left.
    #[cold]
    fn orphan(&self, attempt: u32) -> Option<Acquiring> {
        self.cell.adopt(attempt).then(|| Acquiring::begun(self.scope.accounting()))
    }

    fn seal_cell(&self) -> Found<R::Handle, Account<R>, AbortHandle> {
        self.cell.seal(|| self.scope.accounting().acquisition_begun())
    }

    /// Runs the second half of an attempt, which acquires a handle in place, or in a task that delivers it to this
    /// slot.
    pub(crate) fn make(
        self: &Arc<Self>,
        attempt: PendingAttempt,
        site: Site,
        waiter: &mut WaiterId,
        cx: &mut Context<'_>,
    ) -> TryGet<R> {
        let number = attempt.number;
        let enqueue = |waker: &Waker| self.cell.enqueue(waiter, waker, number);
        match acquire::begin(self, &self.resource, attempt, enqueue, cx) {
            Some(Ok(lease)) => self.lend_out_late(number, lease, site),
            Some(Err(error)) => self.failed(number, error),
            None => TryGet::Busy,
        }
    }

    #[cold]
    fn lend_out_late(&self, attempt: u32, lease: Lease<R>, site: Site) -> TryGet<R> {
        let (handle, account) = lease.into_parts();
        self.lend_out(attempt, handle, account, site)
    }

    /// Lends the new handle to the caller, unless the scope has been closed.
    #[inline(always)]
    fn lend_out(&self, attempt: u32, handle: R::Handle, mut account: Account<R>, site: Site) -> TryGet<R> {
        account.set_order(self.scope.acquired());
        match self.cell.lend_out(attempt, account, site) {
            Ok(()) => TryGet::Lent(handle),
            Err(account) => {
                // The handle is counted.
                drop(self.orphan(attempt));
                self.lease(handle, account).late();
                TryGet::Busy
            }
        }
    }

    /// Returns the error of an attempt to the caller that began it and has not become a waiter. The others get it too,
    /// unless it is the fault of this caller.
    #[cold]
    fn failed(&self, attempt: u32, error: Error<R::Cause>) -> TryGet<R> {
        if !self.fail(attempt, &error) {
            drop(self.orphan(attempt));
        }
        TryGet::Failed(error)
    }

    /// Returns the deadline of a wait that begins now.
    pub(crate) fn limit(&self, reason: WaitFor) -> Deadline {
        let limits = &self.scope.accounting().limits;
        let request = self.scope.details().deadline();
        match reason {
            WaitFor::Loan(_) => Deadline::after(limits.lend).or_of_request(request),
            WaitFor::Turn(_) => Deadline::after(TURN),
            WaitFor::Attempt(_) => {
                let acquire = limits.acquire.saturating_add(GRACE);
                Deadline::after(acquire).or_of_request(request.and_then(|at| at.checked_add(GRACE)))
            }
            WaitFor::End(_) => Deadline::after(limits.release.saturating_add(GRACE)).or_of_request(request),
        }
    }

    /// Reports an attempt that was given up to the observer, because its task does not.
    pub(crate) fn report_given_up(&self, site: Site, missed: &Error<R::Cause>) {
        let subject = Subject::of::<R>(site, &self.scope.details());
        self.scope.accounting().acquire_failed(subject, missed);
    }

    /// Gives an attempt up that has missed its deadline, because its task is not polled. A handle that arrives later is
    /// late.
    pub(crate) fn give_up(&self, attempt: u32) -> Result<(), NotGivenUp> {
        if let Some(cancel) = self.cell.give_up(attempt)? {
            cancel.abort();
        }
        Ok(())
    }

    /// Returns the handle of a guard to the cell. After the seal it is released like that of a dropped lease (L8).
    pub(crate) fn give_back(self: &Arc<Self>, handle: R::Handle) {
        if std::thread::panicking() || probe_or_dead(&*self.resource, &handle) == Health::Dead {
            // Before the handle is returned, so that a close that finds it idle also finds the mark.
            self.scope.mark_failed();
        }
        if let Err(returned) = self.cell.give_back(handle) {
            self.returned(returned);
        }
    }

    #[cold]
    fn returned(self: &Arc<Self>, returned: Returned<R::Handle, Account<R>>) {
        match returned {
            Returned::Refused(handle, account) => drop(self.lease(handle, account)),
            Returned::Ends(ending) => self.begin_end(ending, None::<(&mut Context<'_>, fn(&Waker))>),
        }
    }

    /// Turns the handle of a guard into a lease. After the seal it ends as cancelled, because the verdict of the scope
    /// has already included it (L9).
    pub(crate) fn detach(&self, handle: R::Handle) -> Lease<R> {
        let (mut account, in_time) = self.cell.detach(|| {
            Error::closed().with_context("the handle was detached, so the owner of its lease decides how it ends")
        });
        if !in_time {
            account.cap_verdict(Exit::Cancelled);
        }
        self.lease(handle, account)
    }

    fn lease(&self, handle: R::Handle, account: Account<R>) -> Lease<R> {
        Lease::new(handle, self.resource.clone(), account)
    }

    /// Cancels the attempt or reports the loan that a seal has found.
    fn cancel_or_report(&self, found: &Found<R::Handle, Account<R>, AbortHandle>) {
        match found {
            Found::Over(Phase::Acquiring(Some(cancel))) => cancel.abort(),
            Found::Lent(since) => self.still_lent(since),
            Found::Over(_) | Found::Trying | Found::Ending(_) => {}
        }
    }

    #[cold]
    fn still_lent(&self, since: Site) {
        let subject = Subject::of::<R>(since, &self.scope.details());
        self.scope.accounting().still_lent(subject);
    }

    pub(crate) fn resource(&self) -> &QuietArc<R> {
        &self.resource
    }

    /// Calls `settles`; a panic in it counts as `true`.
    #[inline]
    pub(crate) fn settles(&self, exit: Exit) -> bool {
        catch::call(|| self.resource.settles(exit)).unwrap_or(true)
    }
}

impl<R: Resource> Sink<R> for Slot<R> {
    fn deliver(&self, attempt: u32, lease: Lease<R>) {
        let (handle, mut account) = lease.into_parts();
        account.set_order(self.scope.acquired());
        if let Err((handle, account)) = self.cell.deliver(attempt, handle, account) {
            self.lease(handle, account).late();
        }
    }

    fn fail(&self, attempt: u32, error: &Error<R::Cause>) -> bool {
        if is_lost(error) { self.cell.lose(attempt, error) } else { self.cell.fail(attempt, error) }
    }

    fn set_cancel(&self, attempt: u32, cancel: AbortHandle) -> Option<AbortHandle> {
        self.cell.set_cancel(attempt, cancel)
    }
}

impl<R: Resource> ErasedSlot for Slot<R> {
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn order(&self) -> u32 {
        self.cell.stub(Account::order).unwrap_or_default()
    }

    fn seal(&self, requested: Exit, problems: &mut Vec<Problem>) -> Sealing {
        let resource = type_name::<R>();
        let found = self.seal_cell();
        self.cancel_or_report(&found);
        let problem = match found {
            Found::Over(Phase::Unused) => return Sealing::Nothing,
            // Its own exit decides, not that of the scope: what was completed early is committed although the request fails.
            Found::Ending(exit) if self.settles(exit) => return Sealing::Ending,
            Found::Ending(_) => return Sealing::Nothing,
            Found::Over(Phase::Held(HandleState::Idle(handle), account)) => {
                if self.settles(requested) && probe_or_dead(&*self.resource, &handle) == Health::Dead {
                    problems.push(Problem::Dead { resource });
                }
                self.cell.keep_idle(handle, account);
                return Sealing::Idle;
            }
            Found::Trying | Found::Over(_) => Problem::StillAcquiring { resource },
            Found::Lent(since) => Problem::StillLent { resource, since },
        };
        if self.settles(requested) {
            problems.push(problem);
        }
        Sealing::Nothing
    }

    fn settles(&self, exit: Exit) -> bool {
        self.settles(exit)
    }

    fn release(&self, exit: Exit, deadline: Option<&Deadline>) -> Option<ErasedRelease> {
        let (handle, account) = self.cell.take_idle()?;
        let usual_or_left = |usual| deadline.map_or_else(|| Deadline::after(usual), Deadline::duplicate);
        let resource = type_name::<R>();
        match end(&self.resource, handle, account, exit, usual_or_left) {
            Ok(None) => None,
            Ok(Some(release)) => {
                let runtime = release.runtime().cloned();
                Some(ErasedRelease { future: Box::pin(SlotRelease(release)), runtime, resource })
            }
            Err(error) => {
                Some(ErasedRelease { future: Box::pin(ready(Err(failed::<R>(error)))), runtime: None, resource })
            }
        }
    }

    fn wait_for_end(self: Arc<Self>, deadline: &Deadline) -> Option<ErasedRelease> {
        let wait = Slot::wait_for_end(self, deadline.duplicate())?;
        Some(ErasedRelease { future: Box::pin(wait), runtime: None, resource: type_name::<R>() })
    }

    fn resource(&self) -> &'static str {
        type_name::<R>()
    }

    fn close_alone(&self, requested: Exit, caller: Caller) -> Option<Exit> {
        // The verdict is the requested exit, or `Failed` instead of `Completed`. A resource that does not settle as
        // `Completed` settles as no exit.
        if self.settles(requested) {
            return None;
        }
        let found = self.seal_cell();
        self.cancel_or_report(&found);
        if let Found::Ending(exit) = found {
            if self.settles(exit) {
                // The close has to wait for it. It finds the same when it seals the cell again.
                return None;
            }
        }
        let verdict = requested.worst(self.scope.marked_exit());
        if let Found::Over(Phase::Held(HandleState::Idle(handle), account)) = found {
            // An error has been reported to the observer.
            if let Ok(Some(release)) = end(&self.resource, handle, account, verdict, Deadline::after) {
                release.leave(caller);
            }
        }
        Some(verdict)
    }
}

pub(crate) fn failed<R: Resource>(error: Error<R::Cause>) -> Problem {
    Problem::ReleaseFailed { resource: type_name::<R>(), error: Arc::new(error) }
}

/// The release of one handle, whose error becomes a problem of the close.
struct SlotRelease<R: Resource>(Release<R>);

impl<R: Resource> Future for SlotRelease<R> {
    type Output = Result<(), Problem>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(failed::<R>)
    }
}
