//! What a scope and its cells have in common.

use std::any::{Any, TypeId};
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::runtime::Handle as Runtime;

use crate::Exit;
use crate::close_error::Problem;
use crate::reaper::Reaper;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering};
use crate::time::Deadline;

/// What all scopes of one server have in common.
pub(crate) struct Settings {
    pub(crate) reaper: Reaper,
    pub(crate) close_deadline: Duration,
    pub(crate) lend_deadline: Duration,
    /// The types of which the observer has heard that there are two.
    pub(crate) doubled: Mutex<HashSet<TypeId>>,
}

/// A cell, seen from its scope, which does not know its type.
pub(crate) trait Tenant: Any + Send + Sync {
    /// The type and the address of the resource. No address is used twice: the cell keeps its `Arc`.
    fn key(&self) -> Key;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The how-manieth acquisition of the scope its handle was.
    fn order(&self) -> usize;

    /// Ends all lending. Is there a handle at home? What stands in the way of settling as `told` is a problem.
    fn seal(&self, told: Exit, problems: &mut Vec<Problem>) -> bool;

    /// Does the outcome of a release with this exit matter to the client?
    fn settles(&self, exit: Exit) -> bool;

    /// After the seal: begins the release of what is at home, in the time that is left, or by default in the time
    /// that any release has. `None`: there is nothing to wait for.
    fn release(&self, exit: Exit, deadline: Option<&Deadline>) -> Option<Job>;

    /// That its handle was released as a failure.
    fn not_completed(&self) -> Problem;
}

/// A release whose type is forgotten. It may be dropped: the reaper then takes it.
pub(crate) struct Job {
    pub(crate) future: Pin<Box<dyn Future<Output = Result<(), Problem>> + Send>>,
    /// Where the handle was acquired.
    pub(crate) home: Option<Runtime>,
}

/// Most requests use one resource or two; those need no allocation of their own.
pub(crate) type Tenants = SmallVec<[Arc<dyn Tenant>; 2]>;

pub(crate) type Key = (TypeId, usize);

pub(crate) struct ScopeState {
    pub(crate) settings: Arc<Settings>,
    failed: AtomicBool,
    closed: AtomicBool,
    acquisitions: AtomicUsize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    sealed: bool,
    tenants: Tenants,
    /// Those who wait for the end of the scope.
    waiters: Vec<Waker>,
    deadline: Option<Instant>,
}

impl ScopeState {
    pub(crate) fn open(settings: Arc<Settings>) -> Self {
        settings.reaper.books().scope_opened();
        ScopeState {
            settings,
            failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            acquisitions: AtomicUsize::new(0),
            inside: Mutex::default(),
        }
    }

    /// Numbers the acquisitions.
    pub(crate) fn acquired(&self) -> usize {
        // Relaxed: a handle's number travels with the handle, through the lock of its cell.
        self.acquisitions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn mark_failed(&self) {
        // Relaxed: a guard marks before it goes home, through the lock that the seal takes after it. Whoever marks
        // from elsewhere, without any order to the close, cannot know which came first.
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn marked(&self) -> Exit {
        if self.failed.load(Ordering::Relaxed) { Exit::Failed } else { Exit::Completed }
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: a loop that polls it sees it some time soon, and reads nothing else by it.
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.inside.lock().deadline
    }

    pub(crate) fn set_deadline(&self, at: Instant) {
        self.inside.lock().deadline = Some(at);
    }

    /// The tenant with this key. If there is none, `new` moves in. `None`: the scope is sealed.
    pub(crate) fn tenant(
        &self,
        key: Key,
        resource: &'static str,
        new: impl FnOnce() -> Arc<dyn Tenant>,
    ) -> Option<Arc<dyn Tenant>> {
        let mut inside = self.inside.lock();
        if inside.sealed {
            return None;
        }
        if let Some(known) = inside.tenants.iter().find(|tenant| tenant.key() == key) {
            return Some(Arc::clone(known));
        }
        let doubled = inside.tenants.iter().any(|tenant| tenant.key().0 == key.0);
        let tenant = new();
        inside.tenants.push(Arc::clone(&tenant));
        drop(inside);
        if doubled {
            let first_time = self.settings.doubled.lock().insert(key.0);
            if first_time {
                self.settings.reaper.books().second_resource(resource);
            }
        }
        Some(tenant)
    }

    /// Lets nobody in any more, wakes who waits for that, and hands out the tenants. Called once, by the owner.
    pub(crate) fn seal(&self) -> Tenants {
        let mut inside = self.inside.lock();
        inside.sealed = true;
        let tenants = std::mem::take(&mut inside.tenants);
        let waiters = std::mem::take(&mut inside.waiters);
        drop(inside);
        self.closed.store(true, Ordering::Relaxed);
        waiters.into_iter().for_each(Waker::wake);
        self.settings.reaper.books().scope_closed();
        tenants
    }

    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned, and dropped, outside of the lock: a waker is foreign code.
        let mut waker = Some(cx.waker().clone());
        let mut inside = self.inside.lock();
        if inside.sealed {
            drop(inside);
            return Poll::Ready(());
        }
        if !inside.waiters.iter().any(|known| known.will_wake(cx.waker())) {
            inside.waiters.extend(waker.take());
        }
        drop(inside);
        Poll::Pending
    }
}
