//! What a scope and its cells have in common.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::lease::context::ScopeId;
use crate::reaper::Reaper;
use crate::rt::catch;
use crate::rt::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, thread_local};
use crate::scope::erased::{ErasedSlot, ErasedSlots, Key};

/// What all scopes of one server have in common.
pub(crate) struct Settings {
    pub(crate) reaper: Reaper,
    pub(crate) close_timeout: Duration,
    pub(crate) lend_timeout: Duration,
    /// The types of which the observer has heard that there are two.
    pub(crate) duplicated_types: Mutex<HashSet<TypeId>>,
}

pub(crate) struct ScopeState {
    pub(crate) id: ScopeId,
    /// `None` in a spare one only.
    settings: Option<Arc<Settings>>,
    failed: AtomicBool,
    closed: AtomicBool,
    acquisitions: AtomicUsize,
    locked: Mutex<LockedState>,
}

#[derive(Default)]
struct LockedState {
    sealed: bool,
    slots: ErasedSlots,
    /// Those who wait for the end of the scope. Few scopes have any, so the others do not carry the list.
    waiters: Option<Box<CloseWaiters>>,
    deadline: Option<Instant>,
}

#[derive(Default)]
struct CloseWaiters(Vec<Waker>);

// The memory of a scope that nobody knows of any more, for the next one that is opened on this thread. Of what was in it
// nothing is left.
thread_local! {
    static SPARE: Cell<Option<Arc<ScopeState>>> = const { Cell::new(None) };
}

/// One of those who know of a scope: its owner, a handle, a cell.
#[derive(Clone)]
pub(crate) struct StateRef(Arc<ScopeState>);

impl StateRef {
    pub(crate) fn open(settings: Arc<Settings>) -> Self {
        settings.reaper.accounting().scope_opened();
        // A thread that is being torn down has no place for a spare one.
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
    /// The last one leaves the memory to the next scope.
    #[inline]
    fn drop(&mut self) {
        // Mostly it is not the last one, and this is all that it costs. Two that leave at once may both be told so;
        // then the memory is freed.
        if Arc::strong_count(&self.0) > 1 {
            return;
        }
        let Some(state) = Arc::get_mut(&mut self.0) else { return };
        // Nothing of a server outlives it here, its observer least of all.
        drop(state.settings.take());
        let spare = Some(Arc::clone(&self.0));
        // What was there before, if anything, is memory as well.
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
            acquisitions: AtomicUsize::new(0),
            locked: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.settings.as_deref().expect("a spare one is nobody's scope")
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

    pub(crate) fn marked_exit(&self) -> Exit {
        if self.failed.load(Ordering::Relaxed) { Exit::Failed } else { Exit::Completed }
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: a loop that polls it sees it some time soon, and reads nothing else by it.
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.locked.lock().deadline
    }

    pub(crate) fn set_deadline(&self, at: Instant) {
        self.locked.lock().deadline = Some(at);
    }

    /// The tenant with this key. If there is none, `new` moves in. `None`: the scope is sealed.
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

    /// Lets nobody in any more, wakes who waits for that, and hands out the tenants, if there are any. Called once, by
    /// the owner.
    pub(crate) fn seal(&self) -> ErasedSlots {
        let mut locked = self.locked.lock();
        locked.sealed = true;
        let slots = std::mem::take(&mut locked.slots);
        let waiters = locked.waiters.take();
        // Under the lock: who hears of the end from `poll_closed` finds it here too.
        self.closed.store(true, Ordering::Relaxed);
        drop(locked);
        if let Some(waiters) = waiters {
            catch::wake_all(waiters.0);
        }
        slots
    }

    /// Off the books, after its cells have been sealed: an attempt that began before is on them by then, so that no
    /// drain falls between the two.
    pub(crate) fn close(&self) {
        self.settings().reaper.accounting().scope_closed();
    }

    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned, and dropped, outside of the lock: a waker is foreign code.
        let mut waker = Some(cx.waker().clone());
        let mut locked = self.locked.lock();
        if locked.sealed {
            drop(locked);
            return Poll::Ready(());
        }
        let CloseWaiters(waiters) = &mut **locked.waiters.get_or_insert_default();
        if !waiters.iter().any(|known| known.will_wake(cx.waker())) {
            waiters.extend(waker.take());
        }
        drop(locked);
        Poll::Pending
    }
}
