//! The state that a scope shares with its handles and cells.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::details::Details;
use crate::exit::Exit;
use crate::identity::Identity;
use crate::lease::context::{AcquireContext, ScopeId};
use crate::reaper::account::Accounting;
use crate::reaper::task::{Work, WorkTask};
use crate::rt::catch;
use crate::rt::runtime::Runtime;
use crate::rt::sync::{AtomicBool, AtomicU32, Mutex, Ordering, thread_local};
use crate::rt::wakers::{WakerList, WakerTicket};
use crate::scope::close_error::{CloseError, Problem};
use crate::scope::erased::{ErasedSlot, ErasedSlots};
use crate::scope::progress::{Progress, ProgressCell};

/// The state of one scope.
pub(crate) struct ScopeState {
    pub(crate) id: ScopeId,
    /// The shard that counts the scope and its handles. `None` only in a spare one.
    accounting: Option<Arc<Accounting>>,
    failed: AtomicBool,
    /// Whether the scope has details, so that one without them does not pay for the lock.
    described: AtomicBool,
    progress: ProgressCell,
    acquisitions: AtomicU32,
    locked: Mutex<LockedState>,
}

#[derive(Default)]
struct LockedState {
    slots: ErasedSlots,
    /// Boxed, because few scopes have any of it.
    rare: Option<Box<RareState>>,
    details: Details,
}

#[derive(Default)]
struct RareState {
    /// The waiters of `closed` and `ended`.
    waiters: WakerList,
    /// The releases that failed before the close.
    problems: Vec<Problem>,
    /// The futures of `on_completed`.
    work: VecDeque<Work>,
    /// The runtime on which the first of them was registered.
    home: Option<Runtime>,
    /// The error of the close.
    error: Option<CloseError>,
}

/// What a seal has found.
pub(crate) struct Sealed {
    pub(crate) slots: ErasedSlots,
    /// The futures of `on_completed`, if there are any.
    pub(crate) work: Option<Box<PendingWork>>,
}

/// The futures of `on_completed`, which a drain waits for from the seal on.
pub(crate) struct PendingWork {
    pub(crate) task: WorkTask,
    pub(crate) home: Option<Runtime>,
}

/// The result of [`ScopeState::poll_ended`]. In the first two cases the waiter is registered.
pub(crate) enum EndPoll {
    Open,
    /// The close has begun, with this exit.
    Sealed(Exit),
    Ended(Result<Exit, CloseError>),
}

// The memory of a scope that is no longer referenced, for the next scope that is opened on this thread. Its contents
// have been dropped.
thread_local! {
    static SPARE: Cell<Option<Arc<ScopeState>>> = const { Cell::new(None) };
}

/// A reference to the state of a scope: of its owner, a handle or a cell.
#[derive(Clone)]
pub(crate) struct StateRef(Arc<ScopeState>);

impl StateRef {
    pub(crate) fn open(accounting: &Arc<Accounting>) -> Self {
        accounting.scope_opened();
        let accounting = Arc::clone(accounting);
        // A thread that is being torn down has no spare one.
        if let Ok(Some(mut spare)) = SPARE.try_with(Cell::take) {
            if let Some(place) = Arc::get_mut(&mut spare) {
                place.renew(accounting);
                return StateRef(spare);
            }
        }
        StateRef(Arc::new(ScopeState::new(accounting)))
    }
}

impl Deref for StateRef {
    type Target = ScopeState;

    fn deref(&self) -> &ScopeState {
        &self.0
    }
}

impl Drop for StateRef {
    /// Keeps the memory for the next scope, if this is the last reference.
    #[inline]
    fn drop(&mut self) {
        // Usually it is not the last one, and this is all that it costs. If the last two references are dropped at the
        // same time, both may return here; then the memory is freed.
        if Arc::strong_count(&self.0) > 1 {
            return;
        }
        let Some(state) = Arc::get_mut(&mut self.0) else { return };
        state.clear();
        let spare = Some(Arc::clone(&self.0));
        // The one that it replaces, if any, is only memory as well.
        drop(SPARE.try_with(|place| place.replace(spare)));
    }
}

impl ScopeState {
    #[inline]
    fn new(accounting: Arc<Accounting>) -> Self {
        ScopeState {
            id: ScopeId::next(),
            accounting: Some(accounting),
            failed: AtomicBool::new(false),
            described: AtomicBool::new(false),
            progress: ProgressCell::new(),
            acquisitions: AtomicU32::new(0),
            locked: Mutex::default(),
        }
    }

    /// Drops what the scope refers to: the observer of a server, for example, must not outlive it in the spare one.
    #[inline]
    fn clear(&mut self) {
        drop(self.accounting.take());
        if self.described.load(Ordering::Relaxed) || self.locked.get_mut().rare.is_some() {
            self.clear_more();
        }
    }

    #[cold]
    fn clear_more(&mut self) {
        self.described = AtomicBool::new(false);
        let locked = self.locked.get_mut();
        drop(mem::take(&mut locked.details));
        catch::drop_quietly(locked.rare.take());
    }

    /// Makes this the state of a new scope. What is behind the lock is empty already: the seal took the slots, and
    /// `clear` the rest.
    #[inline]
    fn renew(&mut self, accounting: Arc<Accounting>) {
        self.id = ScopeId::next();
        self.accounting = Some(accounting);
        self.failed = AtomicBool::new(false);
        self.progress = ProgressCell::new();
        self.acquisitions = AtomicU32::new(0);
    }

    pub(crate) fn accounting(&self) -> &Arc<Accounting> {
        self.accounting.as_ref().expect("only a spare one has none")
    }

    /// Returns the number of the next acquisition.
    pub(crate) fn acquired(&self) -> u32 {
        // Relaxed: the number reaches other threads together with the handle, through the lock of its cell.
        self.acquisitions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn mark_failed(&self) {
        // Relaxed: a guard sets the mark before it returns its handle, through the lock that the seal takes after it. A
        // call from elsewhere has no order with the close, so either result is correct.
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Marks the scope as failed, and keeps the problem for its close.
    #[cold]
    pub(crate) fn failed_early(&self, problem: Problem) {
        self.locked.lock().rare.get_or_insert_default().problems.push(problem);
        self.mark_failed();
    }

    /// Returns the problems that occurred before the close.
    pub(crate) fn take_problems(&self) -> Vec<Problem> {
        self.locked.lock().rare.as_mut().map(|rare| mem::take(&mut rare.problems)).unwrap_or_default()
    }

    pub(crate) fn marked_exit(&self) -> Exit {
        if self.failed.load(Ordering::Relaxed) { Exit::Failed } else { Exit::Completed }
    }

    pub(crate) fn is_closed(&self) -> bool {
        !self.progress.is_open()
    }

    /// Returns what has been set so far.
    #[inline]
    pub(crate) fn details(&self) -> Details {
        // Relaxed: a thread that has to see the details has been passed the scope after they were set.
        if self.described.load(Ordering::Relaxed) { self.details_cold() } else { Details::NONE }
    }

    #[cold]
    fn details_cold(&self) -> Details {
        self.locked.lock().details.clone()
    }

    pub(crate) fn describe(&self, set: impl FnOnce(&mut Details)) {
        set(&mut self.locked.lock().details);
        self.described.store(true, Ordering::Relaxed);
    }

    /// Returns the slot of the resource with this identity, and creates it with `new` if there is none. Returns `None` if
    /// the scope is sealed.
    #[inline]
    pub(crate) fn slot<T: ErasedSlot>(&self, identity: Identity, new: impl FnOnce() -> T) -> Option<Arc<T>> {
        let mut locked = self.locked.lock();
        if self.is_closed() {
            return None;
        }
        if let Some(known) = locked.slots.find(identity) {
            return Some(known);
        }
        let slot = Arc::new(new());
        let duplicated_type = locked.slots.push(identity, slot.clone());
        drop(locked);
        if duplicated_type {
            self.accounting().second_resource(TypeId::of::<T>(), slot.resource());
        }
        Some(slot)
    }

    /// Seals the scope: no more slots and no more work, and its waiters are woken. Called once, by the owner.
    #[inline]
    pub(crate) fn seal(&self, requested: Exit) -> Sealed {
        let mut locked = self.locked.lock();
        let slots = mem::take(&mut locked.slots);
        // Under the lock, so that a caller that gets `Ready` from `poll_closed` reads it too.
        self.progress.set(Progress::Sealed(requested));
        let has_more = locked.rare.is_some();
        drop(locked);
        Sealed { slots, work: if has_more { self.seal_more() } else { None } }
    }

    /// Wakes the waiters of a sealed scope, and counts its work, of which there is no more from the seal on. A waiter for
    /// the end that has come since the seal is woken too, and registers again.
    #[cold]
    fn seal_more(&self) -> Option<Box<PendingWork>> {
        let mut locked = self.locked.lock();
        let rare = locked.rare.as_mut()?;
        let (wakers, work, home) = (rare.waiters.take_all(), mem::take(&mut rare.work), rare.home.take());
        drop(locked);
        catch::wake_all(wakers);
        let accounting = self.accounting();
        (!work.is_empty()).then(|| Box::new(PendingWork { task: WorkTask::new(Arc::clone(accounting), work), home }))
    }

    /// Ends the scope: all releases that matter to the client have ended.
    #[inline]
    pub(crate) fn end(&self, verdict: Exit) {
        if self.progress.end(Progress::Ended(verdict)) {
            self.wake_waiters();
        }
    }

    /// Ends the scope with the error of its close.
    #[cold]
    pub(crate) fn end_with(&self, error: CloseError) {
        self.locked.lock().rare.get_or_insert_default().error = Some(error);
        if self.progress.end(Progress::Failed) {
            self.wake_waiters();
        }
    }

    #[cold]
    fn wake_waiters(&self) {
        let wakers = self.locked.lock().rare.as_mut().map(|rare| rare.waiters.take_all());
        catch::wake_all(wakers.unwrap_or_default());
    }

    /// Adds a future that runs if the scope completes. Returns it if the scope is sealed.
    pub(crate) fn on_completed<F>(&self, work: Box<F>, at: &'static Location<'static>) -> Result<(), Box<F>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let home = Runtime::try_current().ok();
        let context = AcquireContext::of_work(Arc::clone(self.accounting()), self.details(), at);
        let mut locked = self.locked.lock();
        if self.is_closed() {
            return Err(work);
        }
        let rare = locked.rare.get_or_insert_default();
        rare.work.push_back(Work::new(context.wrap(Box::into_pin(work)), at));
        if rare.home.is_none() {
            rare.home = home;
        }
        Ok(())
    }

    /// Returns the result of the close, or registers the waiter for the next step of the scope.
    pub(crate) fn poll_ended(&self, waiter: &mut WakerTicket, waker: &Waker) -> EndPoll {
        let ended = |progress| match progress {
            Progress::Open | Progress::Sealed(_) => None,
            Progress::Ended(verdict) => Some(Ok(verdict)),
            Progress::Failed => Some(Err(self.close_error())),
        };
        if let Some(outcome) = ended(self.progress.get()) {
            return EndPoll::Ended(outcome);
        }
        // Cloned and dropped outside of the lock, because a waker is user code.
        let waker = waker.clone();
        let mut locked = self.locked.lock();
        let progress = if self.is_closed() { self.progress.watch() } else { Progress::Open };
        let poll = match progress {
            Progress::Open => EndPoll::Open,
            Progress::Sealed(requested) => EndPoll::Sealed(requested),
            _ => {
                drop(locked);
                return ended(progress).map_or(EndPoll::Open, EndPoll::Ended);
            }
        };
        let old = locked.rare.get_or_insert_default().waiters.register(waiter, waker);
        drop(locked);
        drop(old);
        poll
    }

    fn close_error(&self) -> CloseError {
        let error = self.locked.lock().rare.as_ref().and_then(|rare| rare.error.clone());
        error.expect("it was stored before the progress was")
    }

    /// Counts the scope as closed. Called after its cells have been sealed: an attempt that began before has been
    /// counted by then, so that no drain ends between the two.
    pub(crate) fn close(&self) {
        self.accounting().scope_closed();
    }

    /// Registers the waiter for the close, unless the scope is closed already.
    pub(crate) fn poll_closed(&self, waiter: &mut WakerTicket, waker: &Waker) -> Poll<()> {
        // Cloned and dropped outside of the lock, because a waker is user code.
        let waker = waker.clone();
        let mut locked = self.locked.lock();
        if self.is_closed() {
            drop(locked);
            return Poll::Ready(());
        }
        let old = locked.rare.get_or_insert_default().waiters.register(waiter, waker);
        drop(locked);
        drop(old);
        Poll::Pending
    }

    /// Removes a waiter for the close or the end.
    pub(crate) fn leave(&self, waiter: &mut WakerTicket) {
        if !waiter.is_registered() {
            return;
        }
        let waker = self.locked.lock().rare.as_mut().and_then(|rare| rare.waiters.leave(waiter));
        catch::drop_quietly(waker);
    }
}
