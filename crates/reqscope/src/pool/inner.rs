use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::breaker::{Attempt, Breaker, Refusal, Verdict};
use super::clock::{Clock, Tick};
use super::config::Config;
use super::slots::{Put, Slots};
use crate::error::Error;
use crate::exit::Exit;
use crate::lease::context::Origin;
use crate::lease::{self, Lease};
use crate::reaper::account::Account;
use crate::reaper::{self, Reaper};
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::rand;
use crate::rt::runtime::TIME_PASSES;
use crate::rt::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::rt::time::Deadline;

/// What a pool's users, its tasks and its owner share. The janitor and the creations hold it weakly; a proof and a
/// release, whose time is bounded, hold it with their object.
pub(super) struct Inner<R: Resource> {
    pub(super) config: Config,
    pub(super) resource: Arc<R>,
    /// Its own: objects that are idle belong to no scope's books.
    pub(super) reaper: Reaper,
    pub(super) clock: Clock,
    /// `validate_after`, in ticks.
    pub(super) fresh: u32,
    pub(super) state: Apart<Mutex<State<R>>>,
    /// Whether an attendant is at work. Written under the lock; outside of it, a hint that there is a crowd.
    pub(super) attended: AtomicBool,
    /// Told when a creation has ended, in whatever way.
    pub(super) changed: Notify,
    pub(super) counters: Counters,
}

/// In cache lines of its own: what stands beside a lock that two cores fight for is read by all and written by few, and
/// should not be fetched anew each time.
#[repr(align(128))]
pub(super) struct Apart<T>(T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// One short lock: what is idle, who waits, and whether the backend lives.
pub(super) struct State<R: Resource> {
    pub(super) slots: Slots<R::Handle, Stub<R>, Note>,
    pub(super) breaker: Breaker<Error<R::Cause>>,
    /// How often all was sent away. A creation that began before the last time is sent after it.
    pub(super) clears: u32,
    /// Whether a janitor is at work.
    pub(super) upkeep: bool,
    /// When the last one has looked at the uses.
    pub(super) inspected: Tick,
}

/// What happened so far, apart from what the reaper counts. All of it is rare.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) timeouts: AtomicU64,
    pub(super) unsound: AtomicU64,
    pub(super) held_too_long: AtomicU64,
    /// Those of the objects that are gone.
    pub(super) uses: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        // Relaxed: each of them is read by itself.
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// What stays in the slot of an object.
pub(super) struct Stub<R> {
    pub(super) account: Account<R>,
    /// When it came back last.
    pub(super) returned: Tick,
    /// When it was proved last without being used.
    pub(super) proved: Tick,
    pub(super) expires: Tick,
    pub(super) uses_left: u32,
}

impl<R> Stub<R> {
    /// Whether the pool was cleared while it was out.
    fn is_cleared(&self) -> bool {
        self.expires == Tick::ZERO
    }

    /// When it was last known to be alive.
    pub(super) fn alive_at(&self) -> Tick {
        self.returned.max(self.proved)
    }
}

/// Who has an object.
#[derive(Clone, Copy)]
pub(super) struct Note {
    pub(super) origin: Origin,
    pub(super) since: Tick,
}

impl Note {
    /// The pool itself has it, and is asked neither where it took it nor since when.
    #[track_caller]
    pub(super) fn own() -> Self {
        Note { origin: Origin { taken_at: Location::caller(), scope: None }, since: Tick::NEVER }
    }

    /// Whether a user of the pool has it.
    pub(super) fn is_users(&self) -> bool {
        self.since != Tick::NEVER
    }
}

/// A slot to create something in, and the breaker's word for it.
pub(super) type Begun = (u32, Attempt);

impl<R: Resource> State<R> {
    /// Takes a slot for a creation. `None`: none is wanted, or enough of them run. `spare`: how many are to be idle.
    ///
    /// # Errors
    ///
    /// Why the breaker does not let it.
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
    /// An object is sound, and free for the next one.
    #[inline]
    pub(super) fn put(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let put = state.slots.put_idle(slot, handle, |stub| {
            stub.returned = now;
            stub.uses_left -= 1;
            stub.uses_left > 0 && stub.expires > now
        });
        let Err((handle, wanted)) = put else { return };
        let put = state.slots.put_elsewhere(slot, handle, wanted);
        drop(state);
        self.see_to(slot, put);
    }

    /// The same for one that nobody has touched.
    pub(super) fn put_unused(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        let put = self.state.lock().slots.put(slot, handle, |stub| !stub.is_cleared());
        self.see_to(slot, put);
    }

    /// The same for one that was proved and not used.
    pub(super) fn put_proved(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        let now = self.clock.now();
        let put = self.state.lock().slots.put(slot, handle, |stub| {
            stub.proved = now;
            !stub.is_cleared()
        });
        self.see_to(slot, put);
    }

    /// What is left to do after an object was put somewhere, outside of the lock.
    #[cold]
    fn see_to(self: &Arc<Self>, slot: u32, put: Put<R::Handle, Stub<R>>) {
        match put {
            Put::Idle => {}
            Put::Granted(waker) => waker.into_iter().for_each(catch::wake),
            Put::Refused(handle, stub) => self.retire(slot, handle, stub, Exit::Completed),
        }
    }

    /// Ends an object whose slot is `Ending`. The slot is free when the release has ended (L13).
    #[cold]
    pub(super) fn retire(self: &Arc<Self>, slot: u32, handle: R::Handle, stub: Stub<R>, exit: Exit) {
        let ending = Ending { pool: Arc::clone(self), slot };
        Counters::add(&self.counters.uses, self.config.uses(stub.uses_left));
        if let Ok(Some(release)) = lease::end(&self.resource, handle, stub.account, exit, Deadline::after) {
            let home = release.runtime().cloned();
            reaper::spawn(home, async move {
                // Of an error the observer has heard.
                drop(release.await);
                drop(ending);
            });
        }
    }

    /// Ends an object that is out.
    pub(super) fn discard(self: &Arc<Self>, slot: u32, handle: R::Handle, exit: Exit) {
        Counters::add(&self.counters.unsound, 1);
        let stub = self.state.lock().slots.end(slot);
        self.retire(slot, handle, stub, exit);
    }

    /// A creation has brought an object, that began after so many clears.
    pub(super) fn created(self: &Arc<Self>, slot: u32, attempt: Attempt, lease: Lease<R>, clears: u32) {
        let now = self.clock.now();
        let taken_at = Lease::taken_at(&lease);
        let (handle, account) = lease.into_parts();
        let expires = self.config.lifetime(rand::fraction()).map_or(Tick::NEVER, |lifetime| now.after(lifetime));
        let mut state = self.state.lock();
        state.breaker.succeeded(attempt);
        let uses_left = self.config.max_uses();
        let stub = Stub { account, returned: now, proved: now, expires, uses_left };
        let put = if state.clears == clears {
            state.slots.created(slot, handle, stub, Note { origin: Origin { taken_at, scope: None }, since: now })
        } else {
            state.slots.unwanted(slot);
            Put::Refused(handle, stub)
        };
        drop(state);
        self.see_to(slot, put);
        self.changed.notify_waiters();
        // Those who waited while one creation at a time was allowed.
        self.feed();
    }
}

impl<R: Resource> Inner<R> {
    pub(super) fn new(config: Config, reaper: Reaper, resource: R) -> Self {
        let state = State {
            slots: Slots::new(config.max_size),
            breaker: Breaker::new(),
            clears: 0,
            upkeep: false,
            inspected: Tick::ZERO,
        };
        let fresh = Tick::count(config.validate_after);
        let (resource, state) = (Arc::new(resource), Mutex::new(state));
        Inner {
            config,
            resource,
            reaper,
            clock: Clock::new(),
            fresh,
            state: Apart(state),
            // In a model nobody needs a timer.
            attended: AtomicBool::new(!TIME_PASSES),
            changed: Notify::new(),
            counters: Counters::default(),
        }
    }

    /// No more of anything. What is idle ends; what is out ends when it comes back.
    pub(super) fn close(self: &Arc<Self>) {
        let (idle, wakers) = self.state.lock().slots.close();
        self.retire_all(idle);
        catch::wake_all(wakers);
    }

    pub(super) fn retire_all(self: &Arc<Self>, objects: Vec<(u32, R::Handle, Stub<R>)>) {
        for (slot, handle, stub) in objects {
            self.retire(slot, handle, stub, Exit::Completed);
        }
    }
}

/// The slot of an object that is being released.
struct Ending<R: Resource> {
    pool: Arc<Inner<R>>,
    slot: u32,
}

impl<R: Resource> Drop for Ending<R> {
    fn drop(&mut self) {
        self.pool.state.lock().slots.free(self.slot);
        self.pool.feed();
    }
}
