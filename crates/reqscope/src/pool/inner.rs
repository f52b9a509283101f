use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::breaker::{Attempt, Breaker, Refusal, Verdict};
use super::clock::{Clock, Tick};
use super::config::Config;
use super::slots::{Put, Slots};
use crate::cell::Site;
use crate::details::Details;
use crate::error::Error;
use crate::exit::Exit;
use crate::lease::Lease;
use crate::lease::context::Origin;
use crate::lease::release::Releasing;
use crate::reaper::account::Account;
use crate::reaper::{self, Reaper};
use crate::resource::Resource;
use crate::rt::catch::{self, QuietArc};
use crate::rt::rand;
use crate::rt::runtime::{RuntimeId, TIME_PASSES};
use crate::rt::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::rt::time::Deadline;

/// The state shared by a pool, its users and its tasks. The janitor and the creations hold it weakly. A validation and
/// a release, whose time is bounded, hold it together with their handle.
pub(super) struct Inner<R: Resource> {
    pub(super) config: Config,
    pub(super) resource: QuietArc<R>,
    /// The line of code that built the pool.
    pub(super) built_at: Site,
    /// The pool's own: its handles are not counted by any scope.
    pub(super) reaper: Reaper,
    pub(super) clock: Clock,
    /// `validate_after`, in ticks.
    pub(super) fresh: u32,
    pub(super) state: CacheAligned<Mutex<PoolState<R>>>,
    /// Whether a queue timer runs. Written under the lock. Outside of it, a hint that many callers wait.
    pub(super) has_queue_timer: AtomicBool,
    /// Notified when a creation has ended, whatever the outcome.
    pub(super) changed: Notify,
    pub(super) counters: Counters,
}

/// Aligned to its own cache lines. The fields next to the lock are read by all threads and rarely written, and should
/// not be fetched again because two threads contend for the lock.
#[repr(align(128))]
pub(super) struct CacheAligned<T>(T);

impl<T> Deref for CacheAligned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Everything under the lock, which is held for a short time only.
pub(super) struct PoolState<R: Resource> {
    pub(super) slots: Slots<R::Handle, HandleMeta<R>, Holder>,
    pub(super) breaker: Breaker<Error<R::Cause>>,
    /// The number of `clear`s. A creation that began before the last one is refused.
    pub(super) clears: u32,
    /// Whether a janitor runs.
    pub(super) has_janitor: bool,
    /// The last runtime without timers on which no janitor could be started.
    pub(super) timerless: Option<RuntimeId>,
    /// When a janitor last looked for uses that are too long.
    pub(super) inspected: Tick,
}

/// Counters of rare events, in addition to those of the reaper.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) timeouts: AtomicU64,
    pub(super) unsound: AtomicU64,
    pub(super) held_too_long: AtomicU64,
    /// The uses of handles that are gone.
    pub(super) uses: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        // Relaxed: each counter is read by itself.
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// The metadata of a handle, which stays in its slot while the handle is lent.
pub(super) struct HandleMeta<R> {
    pub(super) account: Account<R>,
    /// When the handle was last returned.
    pub(super) returned: Tick,
    /// When it was last validated without being used.
    pub(super) validated: Tick,
    pub(super) expires: Tick,
    pub(super) uses_left: u32,
}

impl<R> HandleMeta<R> {
    /// Returns whether the pool was cleared while the handle was lent.
    fn is_cleared(&self) -> bool {
        self.expires == Tick::ZERO
    }

    /// Returns when the handle was last known to be alive.
    pub(super) fn alive_at(&self) -> Tick {
        self.returned.max(self.validated)
    }
}

/// The holder of a handle.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) origin: Origin,
    /// What its request has said about itself.
    pub(super) details: Details,
    pub(super) since: Tick,
}

impl Holder {
    /// Returns whether a user of the pool holds the handle.
    pub(super) fn is_users(&self) -> bool {
        self.since != Tick::NEVER
    }
}

/// A slot for a creation, with the breaker's permission.
pub(super) type Begun = (u32, Attempt);

impl<R: Resource> PoolState<R> {
    /// Takes a slot for a creation. Returns `None` if none is wanted, or enough of them run. `spare` is the number of
    /// handles that are to be idle.
    ///
    /// # Errors
    ///
    /// The refusal of the breaker.
    pub(super) fn begin(&mut self, config: &Config, spare: usize) -> Result<Option<Begun>, Refusal<Error<R::Cause>>> {
        if !self.slots.wants(config.create_concurrency, spare) {
            return Ok(None);
        }
        match self.breaker.ask(Instant::now()) {
            Verdict::Go(attempt) | Verdict::Probe(attempt) => Ok(Some((self.slots.begin(), attempt))),
            Verdict::Refuse(refusal) => Err(refusal),
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Puts a sound handle back after a use.
    #[inline]
    pub(super) fn put(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let put = state.slots.put_idle(slot, handle, |meta| {
            meta.returned = now;
            meta.uses_left -= 1;
            meta.uses_left > 0 && meta.expires > now
        });
        let Err((handle, wanted)) = put else { return };
        let put = state.slots.put_elsewhere(slot, handle, wanted);
        drop(state);
        self.finish_put(slot, put);
    }

    /// Puts a handle back that was not used.
    pub(super) fn put_back_unused(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        let put = self.state.lock().slots.put(slot, handle, |meta| !meta.is_cleared());
        self.finish_put(slot, put);
    }

    /// Puts a handle back that was validated and not used.
    pub(super) fn put_back_validated(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        let now = self.clock.now();
        let put = self.state.lock().slots.put(slot, handle, |meta| {
            meta.validated = now;
            !meta.is_cleared()
        });
        self.finish_put(slot, put);
    }

    /// Finishes a `put` outside of the lock.
    #[cold]
    fn finish_put(self: &Arc<Self>, slot: u32, put: Put<R::Handle, HandleMeta<R>>) {
        match put {
            Put::Idle => {}
            Put::Granted(waker) => waker.into_iter().for_each(catch::wake),
            Put::Refused(handle, meta) => self.retire(slot, handle, meta, Exit::Completed),
        }
    }

    /// Retires a handle whose slot is `Ending`. The slot is freed when the release has ended (L13), and before it is
    /// counted, so that a close that has waited for all handles finds all slots free.
    #[cold]
    pub(super) fn retire(self: &Arc<Self>, slot: u32, handle: R::Handle, meta: HandleMeta<R>, exit: Exit) {
        let ending = Ending { pool: Arc::clone(self), slot };
        Counters::add(&self.counters.uses, self.config.uses(meta.uses_left));
        let exit = meta.account.verdict(exit);
        // An error has been reported to the observer.
        let running = Releasing::start_with(ending, &self.resource, handle, meta.account, exit, Deadline::after);
        if let Ok(Some(release)) = running {
            let home = release.runtime().cloned();
            reaper::spawn(home, async move { drop(release.await) });
        }
    }

    /// Retires a lent handle that is not sound.
    pub(super) fn discard(self: &Arc<Self>, slot: u32, handle: R::Handle, exit: Exit) {
        Counters::add(&self.counters.unsound, 1);
        let meta = self.state.lock().slots.end(slot);
        self.retire(slot, handle, meta, exit);
    }

    /// Puts a new handle into the slot of its creation. `clears` is the number of `clear`s when the creation began.
    pub(super) fn created(self: &Arc<Self>, slot: u32, attempt: Attempt, lease: Lease<R>, clears: u32) {
        let now = self.clock.now();
        let taken_at = Lease::taken_at(&lease);
        let (handle, account) = lease.into_parts();
        let expires = self.config.lifetime(rand::fraction()).map_or(Tick::NEVER, |lifetime| now.after(lifetime));
        let mut state = self.state.lock();
        state.breaker.succeeded(attempt);
        let uses_left = self.config.max_uses();
        let meta = HandleMeta { account, returned: now, validated: now, expires, uses_left };
        let put = if state.clears == clears {
            let (origin, details) = (Origin { taken_at, scope: None }, Details::NONE);
            state.slots.created(slot, handle, meta, Holder { origin, details, since: now })
        } else {
            state.slots.unwanted(slot);
            Put::Refused(handle, meta)
        };
        drop(state);
        self.finish_put(slot, put);
        self.changed.notify_waiters();
        // For the waiters that were held back while one creation at a time was allowed.
        self.start_creations();
    }
}

impl<R: Resource> Inner<R> {
    pub(super) fn new(config: Config, reaper: Reaper, resource: R, built_at: Site) -> Self {
        let state = PoolState {
            slots: Slots::new(config.max_size),
            breaker: Breaker::new(),
            clears: 0,
            has_janitor: false,
            timerless: None,
            inspected: Tick::ZERO,
        };
        let fresh = Tick::count(config.validate_after);
        let (resource, state) = (QuietArc::new(&Arc::new(resource)), Mutex::new(state));
        Inner {
            config,
            resource,
            built_at,
            reaper,
            clock: Clock::new(),
            fresh,
            state: CacheAligned(state),
            // A model needs no timers.
            has_queue_timer: AtomicBool::new(!TIME_PASSES),
            changed: Notify::new(),
            counters: Counters::default(),
        }
    }

    /// Returns the holder for handles that the pool itself holds, which are not reported.
    pub(super) fn own_holder(&self) -> Holder {
        let origin = Origin { taken_at: self.built_at, scope: None };
        Holder { origin, details: Details::NONE, since: Tick::NEVER }
    }

    /// Closes the pool. Idle handles are retired now, lent ones when they are returned.
    pub(super) fn close(self: &Arc<Self>) {
        let (idle, wakers) = self.state.lock().slots.close();
        self.retire_all(idle);
        catch::wake_all(wakers);
    }

    pub(super) fn retire_all(self: &Arc<Self>, handles: Vec<(u32, R::Handle, HandleMeta<R>)>) {
        for (slot, handle, meta) in handles {
            self.retire(slot, handle, meta, Exit::Completed);
        }
    }
}

/// Frees the slot of a handle when its release has ended.
struct Ending<R: Resource> {
    pool: Arc<Inner<R>>,
    slot: u32,
}

impl<R: Resource> Drop for Ending<R> {
    fn drop(&mut self) {
        self.pool.state.lock().slots.free(self.slot);
        self.pool.start_creations();
    }
}
