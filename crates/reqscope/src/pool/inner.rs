use std::any::type_name;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use super::breaker::{Attempt, Breaker};
use super::config::Config;
use super::slots::{Put, Slots, Work};
use super::status::PoolStatus;
use crate::cell::Site;
use crate::details::Details;
use crate::error::{ConnectFailure, Error, Shortage, Situation};
use crate::exit::Exit;
use crate::lease::context::{AcquireContext, Holder, Origin};
use crate::lease::release::Releasing;
use crate::reaper::account::{Account, ParkedAccount};
use crate::reaper::{self, Reaper};
use crate::resource::Resource;
use crate::rt::catch::{self, QuietArc};
use crate::rt::clock::{Clock, Moment};
use crate::rt::defer::Defer;
use crate::rt::numbered::Numbered;
use crate::rt::rand;
use crate::rt::runtime::{Runtime, RuntimeId, TIME_PASSES};
use crate::rt::sync::{AtomicBool, CacheAligned, Mutex};
use crate::rt::time::{self, Deadline};

/// How long work may go on after a waiter has found it overdue. Its own task keeps the timeout, and can say more about
/// a miss, if it is polled.
pub(super) const GRACE: Duration = if TIME_PASSES { Duration::from_millis(250) } else { Duration::ZERO };

/// The state shared by a pool, its users and its tasks. The janitor and the creations hold it weakly. A validation and
/// a release, whose time is bounded, hold it together with their handle.
pub(super) struct Inner<R: Resource> {
    pub(super) config: Config,
    pub(super) resource: QuietArc<R>,
    /// The line of code that built the pool.
    pub(super) built_at: Site,
    /// The pool's own: its handles are not counted by any scope.
    pub(super) reaper: Reaper,
    /// `validate_after`, for [`Moment::is_within`].
    pub(super) fresh: u64,
    /// In cache lines of its own: the fields next to the lock are read by all threads and rarely written, and should not be
    /// fetched again because two threads contend for the lock.
    pub(super) state: CacheAligned<Mutex<PoolState<R>>>,
    /// Whether the last check-out that came had to wait. The next one then joins the queue at once.
    pub(super) crowded: AtomicBool,
    /// Notified when a creation has ended, whatever the outcome.
    pub(super) changed: Notify,
    /// Has no permits, and is closed with the pool.
    pub(super) open: Arc<Semaphore>,
}

/// Everything under the lock, which is held for a short time only.
///
/// What each check-out and each return use lies together, apart from the lock, which another thread may be waiting for:
/// each line of the cache is one that this thread may have to fetch from another one, while it holds the lock.
#[repr(C)]
pub(super) struct PoolState<R: Resource> {
    /// When a janitor has looked at all handles last.
    pub(super) scanned: Moment,
    /// The last runtime without timers on which no janitor could be started.
    pub(super) timerless: Option<RuntimeId>,
    /// The runtimes on which handles were created, until they end.
    pub(super) homes: Numbered,
    /// The number of `clear`s. A creation that began before the last one serves one waiter at most.
    pub(super) clears: u32,
    pub(super) clock: Clock,
    /// The number of uses that have ended.
    pub(super) uses: u64,
    /// The number of check-outs that had to wait.
    pub(super) waits: u64,
    /// How many handles in a row were unsound before they had served anyone. After the second one, the creation of a
    /// handle includes its validation: a proxy may accept connections while the backend is gone.
    pub(super) stillborn: u32,
    /// When the next round of the janitor is overdue, and a check-out starts another janitor, which sets another time. The
    /// former one ends when it sees that.
    pub(super) janitor_overdue: Moment,
    pub(super) slots: Slots<R::Handle, HandleMeta<R>, Holder>,
    /// The numbers of other events so far, in addition to those that the reaper counts. The gauges are not used.
    pub(super) so_far: PoolStatus,
    pub(super) breaker: Breaker<Error<R::Cause>>,
}

/// The metadata of a handle, which stays in its slot while the handle is lent.
pub(super) struct HandleMeta<R> {
    account: ParkedAccount<R>,
    /// The runtime on which it was created, by its number in `PoolState::homes`.
    pub(super) home: u16,
    pub(super) created: Moment,
    /// Since when the handle is lent or idle: when it was taken or returned.
    pub(super) since: Moment,
    /// When the handle was last known to be alive and clean. [`UNPROVED`] if its last use has left that open, or its
    /// runtime has ended since.
    pub(super) proved: Moment,
    /// `ZERO` if the pool was cleared while the handle was lent.
    pub(super) expires: Moment,
    /// The number of uses that have ended.
    pub(super) uses: u32,
    /// Whether it was found sound since it was created. Until then, finding it dead speaks against its creation.
    pub(super) tested: bool,
}

/// No moment of a clock is as early.
pub(super) const UNPROVED: Moment = Moment::ZERO;

/// Why a handle must be validated.
pub(super) struct Doubt {
    /// Whether the handle was used since it was proved, or its runtime has ended, which may be why it is dead. If not, it
    /// was idle, and if it is dead, the others may be, too.
    pub(super) used: bool,
    /// How its use ended, if that is known. If it was cut, a failed validation is to be expected.
    pub(super) verdict: Option<Exit>,
    /// Whether it was found sound before.
    pub(super) tested: bool,
    /// When the doubt began. If the validation succeeds, the handle was alive then, if not later.
    pub(super) at: Moment,
}

impl<R> HandleMeta<R> {
    /// Returns whether probing the handle is enough.
    #[inline]
    pub(super) fn is_proved(&self, fresh: u64, now: Moment) -> bool {
        self.proved.is_within(fresh, now) && self.expires > now
    }

    /// Begins a use, when a caller has taken the handle or was granted it. Returns the doubt about it, if there is one.
    #[inline]
    pub(super) fn take(&mut self, fresh: u64, at: Moment) -> Option<Doubt> {
        self.since = at;
        if self.is_proved(fresh, at) { None } else { Some(self.doubt(at)) }
    }

    /// Returns the doubt about a handle. It counts as proved from now on: it is validated, or else retired.
    #[inline]
    pub(super) fn doubt(&mut self, at: Moment) -> Doubt {
        let used = mem::replace(&mut self.proved, at) == UNPROVED;
        Doubt { used, verdict: None, tested: mem::replace(&mut self.tested, true), at }
    }
}

/// A handle that is checked out. Its owner is responsible for the slot.
pub(super) struct Parts<R: Resource> {
    pub(super) pool: Arc<Inner<R>>,
    pub(super) slot: u32,
    pub(super) handle: R::Handle,
}

/// Of an option of them.
pub(super) const NOT_TAKEN: &str = "only methods that consume it take the handle";

/// A slot for a creation, with the breaker's permission.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) slot: u32,
    pub(super) attempt: Attempt,
    /// The timeout of the validation that the creation includes, if any.
    pub(super) validation: Option<Duration>,
    /// The number of `clear`s before it began.
    clears: u32,
}

const HAS_META: &str = "a handle has its metadata until it leaves";

impl<R: Resource> PoolState<R> {
    /// Occupies a slot for a creation. Returns `None` if none is wanted, or enough of them run. `spare` is the number
    /// of handles that are to be idle.
    ///
    /// # Errors
    ///
    /// The cause for which the breaker refuses.
    pub(super) fn begin(&mut self, pool: &Inner<R>, spare: usize) -> Result<Option<Begun>, Error<R::Cause>> {
        // One more for each success in a row.
        let limit = pool.config.create_concurrency.saturating_add(self.breaker.successes);
        if !self.slots.wants(limit, spare) {
            return Ok(None);
        }
        let validation = (self.stillborn >= 2).then_some(pool.config.validate_timeout);
        let (now, timeout) = (time::now(), pool.config.create_timeout.saturating_add(validation.unwrap_or_default()));
        let overdue = self.clock.read(now).after(timeout);
        let attempt = self.breaker.ask(now, timeout.saturating_add(GRACE))?;
        Ok(Some(Begun { slot: self.slots.begin(overdue), attempt, validation, clears: self.clears }))
    }

    /// Returns the metadata of a handle that has not left the pool.
    pub(super) fn meta(&mut self, slot: u32) -> &mut HandleMeta<R> {
        self.slots.meta(slot).as_mut().expect(HAS_META)
    }

    /// Returns the account of a handle that leaves the pool.
    pub(super) fn account(&mut self, slot: u32) -> Account<R> {
        let meta = self.slots.meta(slot).take().expect(HAS_META);
        meta.account.unpark(self.homes.get(meta.home).cloned())
    }

    /// Returns whether a waiter may get a handle although the breaker refuses creations: one that is lent or validated
    /// meanwhile, or that of a creation that began before.
    pub(super) fn has_sources(&self) -> bool {
        let (gauges, probes) = (self.slots.gauges(), usize::from(self.breaker.is_probing()));
        gauges.in_use + gauges.creating.saturating_sub(probes) > 0
    }

    /// Returns the wakers of the callers that wait although nothing can serve them, because the breaker is open.
    pub(super) fn hopeless(&mut self) -> Vec<Waker> {
        let hopeless = self.breaker.is_open() && !self.has_sources();
        if hopeless { self.slots.waiters.wakers() } else { Vec::new() }
    }
}

impl<R: Resource> Inner<R> {
    pub(super) fn new(config: Config, reaper: Reaper, resource: R, built_at: Site) -> Self {
        let state = PoolState {
            slots: Slots::new(config.max_size),
            breaker: Breaker::new(),
            stillborn: 0,
            uses: 0,
            waits: 0,
            clears: 0,
            so_far: PoolStatus::default(),
            clock: Clock::new(),
            janitor_overdue: Moment::ZERO,
            scanned: Moment::ZERO,
            homes: Numbered::default(),
            timerless: None,
        };
        Inner {
            fresh: Moment::window(config.validate_after),
            config,
            resource: QuietArc::new(&Arc::new(resource)),
            built_at,
            reaper,
            state: CacheAligned(Mutex::new(state)),
            crowded: AtomicBool::new(false),
            changed: Notify::new(),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    /// Returns the holder for a caller at `site`, or for the scope or the wrapper that it acts for.
    #[inline(always)]
    pub(super) fn holder(&self, site: Site) -> Holder {
        let of_wrapper = AcquireContext::for_handle_of(&self.reaper);
        of_wrapper.unwrap_or(Holder { origin: Origin { taken_at: site, scope: None }, details: Details::NONE })
    }

    /// Puts a handle back after a use. `proved` says whether it is known to be clean; otherwise the next check-out
    /// validates it.
    #[inline(always)]
    pub(super) fn put(self: &Arc<Self>, slot: u32, handle: R::Handle, proved: bool) {
        let mut state = self.state.lock();
        let now = state.clock.moment;
        state.uses += 1;
        if proved {
            state.stillborn = 0;
        }
        let put = state.slots.put(slot, handle, |meta| {
            meta.since = now;
            meta.uses = meta.uses.saturating_add(1);
            meta.tested |= proved;
            meta.proved = if proved && meta.proved != UNPROVED { now } else { UNPROVED };
            meta.expires > now && meta.uses < self.config.max_uses
        });
        if !matches!(put, Ok(None)) {
            drop(state);
            self.finish_put(slot, put);
        }
    }

    /// Puts a handle back that had no use: one that was validated, or a grant that its waiter did not take.
    #[cold]
    pub(super) fn put_unused(self: &Arc<Self>, slot: u32, handle: R::Handle, keep: impl Fn(&HandleMeta<R>) -> bool) {
        let put = self.state.lock().slots.put(slot, handle, |meta| meta.expires != Moment::ZERO && keep(meta));
        self.finish_put(slot, put);
    }

    /// Finishes a `put` outside of the lock.
    #[cold]
    fn finish_put(self: &Arc<Self>, slot: u32, put: Put<R::Handle>) {
        match put {
            Ok(waker) => waker.into_iter().for_each(catch::wake),
            Err(handle) => self.retire(slot, handle, None, Exit::Completed),
        }
    }

    /// Releases a handle. Its slot is freed when the release has ended (L13), and before it is counted, so that a close
    /// that has waited for all handles finds all slots free.
    ///
    /// `new` is the account of a handle that has not been put into the pool.
    #[cold]
    pub(super) fn retire(self: &Arc<Self>, slot: u32, handle: R::Handle, new: Option<Account<R>>, exit: Exit) {
        let mut state = self.state.lock();
        let overdue = state.clock.now().after(self.config.release_timeout);
        state.slots.occupy(slot, Work::Ending, overdue);
        let account = new.unwrap_or_else(|| state.account(slot));
        drop(state);
        let pool = Arc::clone(self);
        let ending = Defer(move || {
            pool.state.lock().slots.free(slot);
            pool.start_creations();
        });
        // An error has been reported to the observer.
        let running = Releasing::start_with(ending, &self.resource, handle, account, exit, Deadline::after);
        if let Ok(Some(release)) = running {
            let home = release.runtime().cloned();
            reaper::spawn(home, async move { drop(release.await) });
        }
    }

    pub(super) fn retire_all(self: &Arc<Self>, handles: Vec<(u32, R::Handle)>) {
        handles.into_iter().for_each(|(slot, handle)| self.retire(slot, handle, None, Exit::Completed));
    }

    /// Puts a new handle into the pool.
    pub(super) fn put_new(self: &Arc<Self>, begun: Begun, handle: R::Handle, account: Account<R>) {
        let (runtime, account, tested) = (account.runtime().cloned(), account.park(), begun.validation.is_some());
        let mut state = self.state.lock();
        state.stillborn = if tested { 0 } else { state.stillborn };
        let now = state.clock.now();
        // One from before a `clear` serves a caller that waits for it, and is then released.
        let is_old = state.clears != begun.clears;
        let expires = if is_old { Moment::ZERO } else { now.after(self.config.lifetime(rand::fraction())) };
        let stays = !is_old || state.slots.is_awaited();
        // The handle is assigned to its runtime before the watch begins, which ends at once if that is shutting down.
        let home = runtime.as_ref().map_or((Numbered::NONE, false), |runtime| state.homes.add(runtime));
        let meta =
            HandleMeta { account, home: home.0, created: now, since: now, proved: now, expires, uses: 0, tested };
        *state.slots.meta(begun.slot) = Some(meta);
        let put = state.slots.put(begun.slot, handle, |_| stays);
        drop(state);
        runtime.into_iter().for_each(|runtime| self.watch(&runtime, home));
        self.finish_put(begun.slot, put);
    }

    /// Closes the pool. Idle handles are retired now, lent ones when they are returned.
    pub(super) fn close(self: &Arc<Self>) {
        self.open.close();
        let (idle, wakers) = self.state.lock().slots.close();
        self.retire_all(idle);
        catch::wake_all(wakers);
    }

    /// Watches a runtime that was added to the homes, if it is new there. In a model, runtimes do not end.
    pub(super) fn watch(self: &Arc<Self>, runtime: &Runtime, (home, is_new): (u16, bool)) {
        if TIME_PASSES && is_new {
            let (pool, open) = (Arc::downgrade(self), Arc::clone(&self.open));
            let watch = Defer(move || pool.upgrade().into_iter().for_each(|pool| pool.runtime_ended(home)));
            drop(runtime.spawn(async move {
                // Until the pool is closed. The runtime has not ended then.
                drop(open.acquire().await);
                drop(watch);
            }));
        }
    }

    /// Marks the handles that were created on a runtime as unproved, because their sockets have ended with it.
    fn runtime_ended(&self, home: u16) {
        let mut state = self.state.lock();
        // The runtime of a closed pool still releases the handles that are lent.
        if state.slots.is_closed() {
            return;
        }
        let ended = state.homes.remove(home);
        // Perhaps that of the janitor. If not, the janitor goes on unless a check-out replaces it.
        state.janitor_overdue = Moment::ZERO;
        for meta in state.slots.metadata().filter(|meta| meta.home == home) {
            (meta.proved, meta.home) = (UNPROVED, Numbered::NONE);
        }
        drop(state);
        catch::drop_quietly(ended);
    }

    /// Returns the holders of the uses that began at a time that `which` selects, and for how long, the longest first. It
    /// does not hold the lock for long.
    pub(super) fn holders(&self, which: impl Fn(Moment) -> bool) -> Vec<(Holder, Duration)> {
        const AT_A_TIME: usize = if TIME_PASSES { 256 } else { 1 };
        let mut holders = Vec::new();
        for part in 0.. {
            let mut state = self.state.lock();
            let now = state.clock.now();
            let Some(lent) = state.slots.lent(part, AT_A_TIME) else { break };
            let selected = lent.filter(|(_, meta)| which(meta.since));
            holders.extend(selected.map(|(holder, meta)| (holder.clone(), now.since(meta.since))));
        }
        holders.sort_by_key(|(_, held)| Reverse(*held));
        holders
    }

    pub(super) fn status(&self) -> PoolStatus {
        let (accounting, state) = (self.reaper.stats(), self.state.lock());
        let PoolStatus { unsound, timeouts, held_too_long, .. } = state.so_far;
        PoolStatus {
            name: self.config.name.clone().unwrap_or(Cow::Borrowed(type_name::<R>())),
            down: state.breaker.is_open(),
            last_failure: state.breaker.last_failure().map(|(error, at)| ConnectFailure::new(error, at.elapsed())),
            created: accounting.acquired,
            create_failed: accounting.acquire_failed,
            retired: accounting.released + accounting.abandoned,
            uses: state.uses,
            waits: state.waits,
            unsound,
            timeouts,
            held_too_long,
            ..state.slots.gauges()
        }
    }

    /// Returns the error of a caller that comes after the close, or waited until then.
    pub(super) fn closed(&self) -> Error<R::Cause> {
        Error::closed_as(Situation::PoolClosed { name: self.config.name.clone(), resource: type_name::<R>() })
    }

    /// Adds the figures of the pool to the error of a caller that got no handle.
    pub(super) fn explain(&self, error: Error<R::Cause>, waiter: &Holder) -> Error<R::Cause> {
        if error.is_closed() {
            return error;
        }
        let (holders, scope) = (self.holders(|_| true), waiter.origin.scope);
        let own = holders.iter().find(|(holder, _)| scope.is_some() && holder.origin.scope == scope);
        let own = own.map(|(holder, _)| holder.origin.taken_at);
        let oldest = holders.first().map(|(holder, held)| holder.holding(*held));
        let (resource, name) = (Some(type_name::<R>()), self.config.name.clone());
        let PoolStatus { paused, max_size, in_use, idle, creating, waiting, last_failure, .. } = self.status();
        let shortage =
            Shortage { resource, name, paused, max_size, in_use, idle, creating, waiting, oldest, last_failure, own };
        error.with_shortage(shortage)
    }
}
