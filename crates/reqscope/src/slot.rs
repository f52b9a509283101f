use std::any::{Any, TypeId, type_name};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::account::Acquiring;
use crate::acquisition::{self, Sink, late};
use crate::cell::{Cell, Found, Site};
use crate::close_error::Problem;
use crate::context::Surroundings;
use crate::lease::{Lease, Release};
use crate::observer::Subject;
use crate::places::Ticket;
use crate::resource::{Health, Resource};
use crate::runtime::AbortHandle;
use crate::state::ScopeState;
use crate::sync::{AtomicUsize, Ordering};
use crate::tenants::{Job, Key, Tenant};
use crate::time::Deadline;
use crate::{Error, Exit, foreign};

/// The place of one resource in one scope: the state machine, and all that it needs around it.
pub(crate) struct Slot<R: Resource> {
    pub(crate) cell: Cell<Lease<R>, Error<R::Cause>, AbortHandle>,
    pub(crate) scope: Arc<ScopeState>,
    resource: Arc<R>,
    order: AtomicUsize,
}

impl<R: Resource> Slot<R> {
    pub(crate) fn new(scope: &Arc<ScopeState>, resource: &Arc<R>) -> Self {
        Self::around(Cell::new(), scope, resource)
    }

    /// A slot of a scope that is over: nobody ever gets anything from it.
    pub(crate) fn closed(scope: &Arc<ScopeState>, resource: &Arc<R>) -> Self {
        Self::around(Cell::closed(), scope, resource)
    }

    fn around(
        cell: Cell<Lease<R>, Error<R::Cause>, AbortHandle>,
        scope: &Arc<ScopeState>,
        resource: &Arc<R>,
    ) -> Self {
        Slot { cell, scope: Arc::clone(scope), resource: Arc::clone(resource), order: AtomicUsize::new(0) }
    }

    pub(crate) fn key_of(resource: &Arc<R>) -> Key {
        (TypeId::of::<R>(), Arc::as_ptr(resource).cast::<()>() as usize)
    }

    pub(crate) fn surroundings(&self, taken_at: Site) -> Surroundings {
        Surroundings { reaper: self.scope.settings.reaper.clone(), taken_at }
    }

    pub(crate) fn resource(&self) -> &Arc<R> {
        &self.resource
    }

    /// Makes the handle, in place or in a task that delivers it here. `None`: look into the cell again.
    pub(crate) fn begin(
        self: &Arc<Self>,
        attempt: u32,
        counted: Acquiring,
        site: Site,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Option<Result<Lease<R>, Error<R::Cause>>> {
        let enlist = |waker: &Waker| self.cell.enlist(ticket, waker);
        match acquisition::begin(self, attempt, &self.resource, self.surroundings(site), counted, enlist, cx)? {
            Ok(lease) => self.lend_out(attempt, lease, site).map(Ok),
            Err(error) => {
                self.cell.fail(attempt, &error);
                Some(Err(error))
            }
        }
    }

    /// Puts an attempt on the books. The cell does it when it begins one: a close that finds the attempt takes its scope
    /// off the books later, so that no drain falls between the two.
    pub(crate) fn count(&self) -> Acquiring {
        Acquiring::begin(self.scope.settings.reaper.books())
    }

    /// The handle was there at once, and goes to the one who asked. `None`: the scope was closed meanwhile.
    #[inline]
    pub(crate) fn lend_out(&self, attempt: u32, lease: Lease<R>, site: Site) -> Option<Lease<R>> {
        self.number();
        if self.cell.lend_out(attempt, site) {
            return Some(lease);
        }
        late::<R>(lease);
        None
    }

    /// A guard comes home. What the scope does not want back any more goes the way of a dropped lease (L8).
    pub(crate) fn give_back(&self, lease: Lease<R>) {
        if std::thread::panicking() || lease.probe() == Health::Dead {
            // Before it is home: a close that finds it there finds the mark as well.
            self.scope.mark_failed();
        }
        if let Err(unwanted) = self.cell.give_back(lease) {
            drop(unwanted);
        }
    }

    fn number(&self) {
        // Relaxed: it is read after the seal, through the lock of the cell.
        self.order.store(self.scope.acquired(), Ordering::Relaxed);
    }
}

impl<R: Resource> Sink<R> for Slot<R> {
    type Lent = Lease<R>;

    fn cell(&self) -> &Cell<Lease<R>, Error<R::Cause>, AbortHandle> {
        &self.cell
    }

    fn arrived(&self, lease: Lease<R>) -> Lease<R> {
        self.number();
        lease
    }
}

impl<R: Resource> Tenant for Slot<R> {
    fn key(&self) -> Key {
        Self::key_of(&self.resource)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn order(&self) -> usize {
        self.order.load(Ordering::Relaxed)
    }

    fn seal(&self, told: Exit, problems: &mut Vec<Problem>) -> bool {
        let resource = type_name::<R>();
        let (at_home, problem) = match self.cell.seal() {
            Found::Nothing => (false, None),
            Found::AtHome if !self.settles(told) => (true, None),
            Found::AtHome => {
                let dead = self.cell.with_sealed(Lease::probe) == Some(Health::Dead);
                (true, dead.then_some(Problem::Dead { resource }))
            }
            Found::Acquiring(cancel) => {
                if let Some(cancel) = cancel {
                    cancel.abort();
                }
                (false, self.settles(told).then_some(Problem::StillAcquiring { resource }))
            }
            Found::Lent(since) => {
                self.scope.settings.reaper.books().still_lent(Subject::of::<R>(since));
                (false, self.settles(told).then_some(Problem::StillLent { resource, since }))
            }
        };
        problems.extend(problem);
        at_home
    }

    /// A resource that panics when it is asked is taken at its gravest.
    fn settles(&self, exit: Exit) -> bool {
        foreign::call(|| self.resource.settles(exit)).unwrap_or(true)
    }

    fn release(&self, exit: Exit, deadline: Option<&Deadline>) -> Option<Job> {
        let lease = self.cell.remove()?;
        let usual_or_left = |usual| deadline.map_or_else(|| Deadline::after(usual), Deadline::again);
        let resource = type_name::<R>();
        match lease.end_within(exit, usual_or_left) {
            Ok(None) => None,
            Ok(Some(release)) => {
                let home = release.home().cloned();
                Some(Job { future: Box::pin(Settling(release)), home, resource })
            }
            Err(error) => Some(Job { future: Box::pin(ready(Err(failed::<R>(error)))), home: None, resource }),
        }
    }

    fn resource(&self) -> &'static str {
        type_name::<R>()
    }

    fn close_alone(&self, told: Exit) -> bool {
        if self.settles(Exit::Completed) {
            return false;
        }
        if self.seal(told, &mut Vec::new()) {
            // The reaper has what is left to do.
            drop(self.release(told.worst(self.scope.marked()), None));
        }
        true
    }
}

fn failed<R: Resource>(error: Error<R::Cause>) -> Problem {
    Problem::ReleaseFailed { resource: type_name::<R>(), error: Arc::new(error) }
}

/// The release of one handle, whose error speaks for the whole scope.
struct Settling<R: Resource>(Release<R>);

impl<R: Resource> Future for Settling<R> {
    type Output = Result<(), Problem>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(failed::<R>)
    }
}
