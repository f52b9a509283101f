//! The state that a scope shares with its handles and cells.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::details::Details;
use crate::exit::Exit;
use crate::lease::context::ScopeId;
use crate::reaper::Reaper;
use crate::rt::catch;
use crate::rt::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, thread_local};
use crate::rt::wakers::{WakerList, WakerTicket};
use crate::scope::erased::{ErasedSlot, ErasedSlots, Key};

/// The settings of all scopes of one server.
pub(crate) struct Settings {
    pub(crate) reaper: Reaper,
    pub(crate) close_timeout: Duration,
    pub(crate) lend_timeout: Duration,
    /// The types for which [`Observer::second_resource`](crate::Observer::second_resource) has been called.
    pub(crate) duplicated_types: Mutex<HashSet<TypeId>>,
}

/// The state of one scope.
pub(crate) struct ScopeState {
    pub(crate) id: ScopeId,
    /// `None` only in a spare one.
    settings: Option<Arc<Settings>>,
    failed: AtomicBool,
    closed: AtomicBool,
    /// Whether the scope has details, so that one without them does not pay for the lock.
    described: AtomicBool,
    acquisitions: AtomicUsize,
    locked: Mutex<LockedState>,
}

#[derive(Default)]
struct LockedState {
    sealed: bool,
    slots: ErasedSlots,
    /// The waiters of `closed`. Boxed, because few scopes have any.
    waiters: Option<Box<WakerList>>,
    details: Details,
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
    pub(crate) fn open(settings: Arc<Settings>) -> Self {
        settings.reaper.accounting().scope_opened();
        // A thread that is being torn down has no spare one.
        if let Ok(Some(mut spare)) = SPARE.try_with(Cell::take) {
            if let Some(place) = Arc::get_mut(&mut spare) {
                *place = ScopeState::new(settings);
                return StateRef(spare);
            }
        }
        StateRef(Arc::new(ScopeState::new(settings)))
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
        // The settings and the observer of a server must not outlive it in the spare one.
        drop(state.settings.take());
        if state.described.load(Ordering::Relaxed) {
            state.locked.lock().details = Details::NONE;
        }
        let spare = Some(Arc::clone(&self.0));
        // The one that it replaces, if any, is only memory as well.
        drop(SPARE.try_with(|place| place.replace(spare)));
    }
}

impl ScopeState {
    #[inline]
    fn new(settings: Arc<Settings>) -> Self {
        ScopeState {
            id: ScopeId::next(),
            settings: Some(settings),
            failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            described: AtomicBool::new(false),
            acquisitions: AtomicUsize::new(0),
            locked: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.settings.as_deref().expect("a spare one has no settings")
    }

    /// Returns the number of the next acquisition.
    pub(crate) fn acquired(&self) -> usize {
        // Relaxed: the number reaches other threads together with the handle, through the lock of its cell.
        self.acquisitions.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn mark_failed(&self) {
        // Relaxed: a guard sets the mark before it returns its handle, through the lock that the seal takes after it. A
        // call from elsewhere has no order with the close, so either result is correct.
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn marked_exit(&self) -> Exit {
        if self.failed.load(Ordering::Relaxed) { Exit::Failed } else { Exit::Completed }
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: a loop that polls it sees it soon, and reads nothing that depends on it.
        self.closed.load(Ordering::Relaxed)
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

    /// Returns the slot with this key, and creates it with `new` if there is none. Returns `None` if the scope is
    /// sealed.
    pub(crate) fn slot<T: ErasedSlot>(&self, key: Key, new: impl FnOnce() -> T) -> Option<Arc<T>> {
        let mut locked = self.locked.lock();
        if locked.sealed {
            return None;
        }
        let known = locked.slots.as_slice();
        if let Some(known) = known.iter().find(|slot| slot.key() == key) {
            return Arc::clone(known).into_any().downcast().ok();
        }
        let duplicated_types = known.iter().any(|slot| slot.key().0 == key.0);
        let slot = Arc::new(new());
        locked.slots.push(slot.clone());
        drop(locked);
        if duplicated_types {
            let first_time = self.settings().duplicated_types.lock().insert(key.0);
            if first_time {
                self.settings().reaper.accounting().second_resource(slot.resource());
            }
        }
        Some(slot)
    }

    /// Seals the scope: no more slots, and the waiters of `closed` are woken. Returns the slots. Called once, by the
    /// owner.
    pub(crate) fn seal(&self) -> ErasedSlots {
        let mut locked = self.locked.lock();
        locked.sealed = true;
        let slots = std::mem::take(&mut locked.slots);
        let waiters = locked.waiters.take();
        // Under the lock, so that a caller that gets `Ready` from `poll_closed` reads it too.
        self.closed.store(true, Ordering::Relaxed);
        drop(locked);
        if let Some(mut waiters) = waiters {
            catch::wake_all(waiters.take_all());
        }
        slots
    }

    /// Counts the scope as closed. Called after its cells have been sealed: an attempt that began before has been
    /// counted by then, so that no drain ends between the two.
    pub(crate) fn close(&self) {
        self.settings().reaper.accounting().scope_closed();
    }

    /// Registers the waiter for the close, unless the scope is closed already.
    pub(crate) fn poll_closed(&self, waiter: &mut WakerTicket, waker: &Waker) -> Poll<()> {
        // Cloned and dropped outside of the lock, because a waker is user code.
        let waker = waker.clone();
        let mut locked = self.locked.lock();
        if locked.sealed {
            drop(locked);
            return Poll::Ready(());
        }
        let old = locked.waiters.get_or_insert_default().register(waiter, waker);
        drop(locked);
        drop(old);
        Poll::Pending
    }

    /// Removes a waiter for the close.
    pub(crate) fn leave_closed(&self, waiter: &mut WakerTicket) {
        if !waiter.is_registered() {
            return;
        }
        let mut locked = self.locked.lock();
        let waker = locked.waiters.as_mut().and_then(|waiters| waiters.leave(waiter));
        locked.waiters.take_if(|waiters| waiters.is_empty());
        drop(locked);
        catch::drop_quietly(waker);
    }
}
