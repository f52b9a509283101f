//! The accounting: every handle has an account, which is opened once and closed once.
//!
//! 1. `acquired == released + abandoned + taken + live`: what is live is computed from the counters.
//! 2. An account that is dropped without having been closed is closed by its `Drop`, as abandoned.
//! 3. A drain ends only when no scope is open, no acquisition is counted, and no handle is live. The call that makes it
//!    so wakes the drains that wait for it.
//! 4. There is one shard until two threads count at the same time. From then on each thread has a shard, so that threads
//!    that work at the same time write to different cache lines.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::HashSet;
use std::error::Error;
use std::future::Future;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{iter, mem};

use crate::details::Details;
use crate::exit::Exit;
use crate::observer::{Abandoned, Observer, Subject};
use crate::reaper::counters::Counters;
use crate::rt::catch::{self, Quiet};
use crate::rt::runtime::Runtime;
use crate::rt::sync::{AtomicUsize, CacheAligned, Mutex, OnceLock, Ordering, thread_local};
use crate::rt::wakers::{WakerList, WakerTicket};
use crate::stats::Stats;

/// One shard of the accounting of a reaper: its time limits and its share of the counters. Who refers to a shard counts
/// in it. The reaper refers to the first one, which owns the others.
pub(crate) struct Accounting {
    pub(crate) limits: Limits,
    shared: Arc<Shared>,
    is_first: bool,
    /// The other shards, in the first one.
    others: OnceLock<Box<[Arc<Accounting>]>>,
    counters: CacheAligned<Counters>,
}

/// What the shards of a reaper share. It is rarely written to.
struct Shared {
    first: Weak<Accounting>,
    observer: Option<Quiet<Box<dyn Observer>>>,
    /// The name of the pool whose handles these are.
    pool: Option<Arc<str>>,
    /// The types for which [`Observer::second_resource`] has been called.
    duplicated_types: Mutex<HashSet<TypeId>>,
    drains: Mutex<WakerList>,
    /// The number of the next shard that a thread is given.
    next_shard: AtomicUsize,
}

// The number of this thread's shard, modulo the number of shards. Changed when the thread meets another one.
thread_local! {
    static OWN_SHARD: Cell<usize> = const { Cell::new(0) };
}

/// Returns the number of shards of a reaper that has more than one: a power of two, and enough that few threads that run
/// at the same time share one.
fn shards() -> usize {
    static SHARDS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *SHARDS.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        if cfg!(all(test, reqscope_loom)) { 2 } else { (2 * threads.min(32)).next_power_of_two() }
    })
}

/// The time limits of the operations.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) acquire: Duration,
    pub(crate) release: Duration,
    pub(crate) task: Duration,
    /// Of all releases together that the response of a request waits for.
    pub(crate) close: Duration,
    /// Of a wait for a guard of the same request.
    pub(crate) lend: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let [short, task, acquire] = [5, 30, 60].map(Duration::from_secs);
        Limits { acquire, release: short, task, close: short, lend: short }
    }
}

const RELEASED: usize = 0;
const ABANDONED: usize = 1;
const TAKEN: usize = 2;

impl Accounting {
    /// Creates the first shard.
    pub(crate) fn new(
        limits: Limits,
        observer: Option<Quiet<Box<dyn Observer>>>,
        pool: Option<Arc<str>>,
    ) -> Arc<Self> {
        let (duplicated_types, drains) = Default::default();
        let next_shard = AtomicUsize::new(1);
        Arc::new_cyclic(|first| {
            let first = Weak::clone(first);
            let shared = Arc::new(Shared { first, observer, pool, duplicated_types, drains, next_shard });
            Self::shard(limits, shared, true)
        })
    }

    fn shard(limits: Limits, shared: Arc<Shared>, is_first: bool) -> Self {
        Accounting { limits, shared, is_first, others: OnceLock::new(), counters: CacheAligned::default() }
    }

    /// Returns the first shard, which owns the others. Returns this one if the first is gone, because every reaper that
    /// referred to it has been dropped.
    pub(crate) fn first(self: &Arc<Self>) -> Arc<Self> {
        let first = if self.is_first { None } else { self.shared.first.upgrade() };
        first.unwrap_or_else(|| Arc::clone(self))
    }

    /// Returns the shards after the first one.
    fn others(&self) -> &[Arc<Accounting>] {
        self.others.get().map_or(&[], |others| others)
    }

    #[cfg(all(test, reqscope_loom))]
    pub(crate) fn is_spread(&self) -> bool {
        !self.others().is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Accounting> {
        iter::once(self).chain(self.others().iter().map(|shard| &**shard))
    }

    /// Returns the shard of this thread. Called on the first one.
    #[inline]
    pub(crate) fn own(self: &Arc<Self>) -> &Arc<Self> {
        match self.others.get() {
            None => self,
            Some(others) => self.own_of(others),
        }
    }

    fn own_of<'a>(self: &'a Arc<Self>, others: &'a [Arc<Self>]) -> &'a Arc<Self> {
        // The number of shards is a power of two, one more than `others`.
        let number = OWN_SHARD.try_with(Cell::get).unwrap_or(0) & others.len();
        number.checked_sub(1).map_or(self, |index| &others[index])
    }

    /// Gives this thread another shard, because it has met another thread in this one.
    #[cold]
    pub(crate) fn spread(&self) {
        // Relaxed: any number will do.
        let number = self.shared.next_shard.fetch_add(1, Ordering::Relaxed);
        // A thread that is being torn down has no number of its own.
        OWN_SHARD.try_with(|own| own.set(number)).unwrap_or(());
        if self.is_first {
            let shard = || Arc::new(Self::shard(self.limits, Arc::clone(&self.shared), false));
            self.others.get_or_init(|| (1..shards()).map(|_| shard()).collect());
        }
    }

    /// Returns the counters of all shards.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        // The ends are read before the beginnings, so that no difference is negative, and the running releases before
        // the ends, because each of them is a live handle.
        for Accounting { counters, .. } in self.all() {
            stats.pending_releases += counters.releasing.read();
            stats.acquire_failed += counters.acquire_failed.read();
            stats.release_failed += counters.release_failed.read();
            stats.late += counters.late.read();
            stats.lent_too_long += counters.lent_too_long.read();
            stats.still_lent += counters.still_lent.read();
            stats.tasks += counters.tasks.read();
            stats.tasks_failed += counters.tasks_failed.read();
            stats.observer_panics += counters.observer_panics.read();
            let [released, abandoned, taken] = counters.handles.ended();
            stats.released += released;
            stats.abandoned += abandoned;
            stats.taken += taken;
            let ([closed], [acquired]) = (counters.scopes.ended(), counters.acquisitions.ended());
            stats.open_scopes = stats.open_scopes.wrapping_sub(closed);
            stats.acquiring = stats.acquiring.wrapping_sub(acquired);
        }
        for Accounting { counters, .. } in self.all() {
            stats.opened_scopes += counters.scopes.begun();
            stats.acquired += counters.handles.begun();
            stats.acquiring = stats.acquiring.wrapping_add(counters.acquisitions.begun());
        }
        stats.open_scopes = stats.open_scopes.wrapping_add(stats.opened_scopes);
        stats.acquiring = stats.acquiring.saturating_sub(stats.tasks);
        stats.live = stats.acquired - (stats.released + stats.abandoned + stats.taken);
        stats.pending_releases = stats.pending_releases.min(stats.live);
        stats
    }

    #[inline]
    pub(crate) fn scope_opened(&self) {
        if !self.counters.scopes.begin() {
            self.spread();
        }
    }

    #[inline]
    pub(crate) fn scope_closed(&self) {
        self.ended(self.counters.scopes.end(0));
    }

    /// Counts an attempt. [`Acquiring::begun`] takes over its end.
    pub(crate) fn acquisition_begun(&self) {
        if !self.counters.acquisitions.begin() {
            self.spread();
        }
    }

    /// Wakes the drains, after an end.
    #[inline]
    fn ended(&self, watched: bool) {
        if watched {
            self.wake_drains();
        }
    }

    #[cold]
    fn wake_drains(&self) {
        let mut drains = self.shared.drains.lock();
        if drains.is_empty() {
            // A drain that has been woken sets the bits again when it is polled.
            self.counters.unwatch();
            return;
        }
        // Under the lock: of the last two ends, the one that locks last sees both. If something of this shard is still
        // open, its end comes here, too.
        let idle = self.counters.ended() == self.counters.begun();
        let woken = if idle { drains.take_all() } else { Vec::new() };
        drop(drains);
        catch::wake_all(woken);
    }

    pub(crate) fn acquire_failed(&self, of: Subject, error: &(dyn Error + 'static)) {
        self.counters.acquire_failed.add();
        self.notify(|observer| observer.acquire_failed(of.in_pool(&self.shared.pool), error));
    }

    pub(crate) fn late(&self, of: Subject) {
        self.counters.late.add();
        self.notify(|observer| observer.late(of.in_pool(&self.shared.pool)));
    }

    pub(crate) fn lent_too_long(&self, of: Subject, held_since: &'static Location<'static>) {
        self.counters.lent_too_long.add();
        self.notify(|observer| observer.lent_too_long(of.in_pool(&self.shared.pool), held_since));
    }

    pub(crate) fn held_too_long(&self, of: Subject, held: Duration) {
        self.notify(|observer| observer.held_too_long(of.in_pool(&self.shared.pool), held));
    }

    pub(crate) fn still_lent(&self, of: Subject) {
        self.counters.still_lent.add();
        self.notify(|observer| observer.still_lent(of.in_pool(&self.shared.pool)));
    }

    pub(crate) fn task_failed(&self, spawned_at: &'static Location<'static>, error: &(dyn Error + 'static)) {
        self.counters.tasks_failed.add();
        self.notify(|observer| observer.task_failed(spawned_at, error));
    }

    /// Reports that a scope uses two resources of a type, the first time that this happens.
    #[cold]
    pub(crate) fn second_resource(&self, of: TypeId, resource: &'static str) {
        let first_time = self.shared.duplicated_types.lock().insert(of);
        if first_time {
            self.notify(|observer| observer.second_resource(resource));
        }
    }

    /// Waits until nothing is open in any shard. Called on the first one.
    pub(crate) fn idle(&self) -> Idle<'_> {
        Idle { accounting: self, waiter: WakerTicket::default() }
    }

    fn poll_idle(&self, waiter: &mut WakerTicket, waker: &Waker) -> Poll<()> {
        // Cloned and dropped outside of the lock, because a waker is user code.
        let waker = waker.clone();
        let mut drains = self.shared.drains.lock();
        let old = drains.register(waiter, waker);
        let mut ended = self.counters.watch();
        // In this order: the end of something in the first shard makes the shards visible that came before it.
        let others = self.others();
        ended += others.iter().map(|shard| shard.counters.watch()).sum::<u64>();
        let begun = self.counters.begun() + others.iter().map(|shard| shard.counters.begun()).sum::<u64>();
        drop(drains);
        drop(old);
        if ended == begun { Poll::Ready(()) } else { Poll::Pending }
    }

    fn leave(&self, waiter: &mut WakerTicket) {
        if !waiter.is_registered() {
            return;
        }
        let waker = self.shared.drains.lock().leave(waiter);
        catch::drop_quietly(waker);
    }

    pub(crate) fn has_observer(&self) -> bool {
        self.shared.observer.is_some()
    }

    /// Returns the name of the pool whose handles these are.
    pub(crate) fn pool(&self) -> &Option<Arc<str>> {
        &self.shared.pool
    }

    #[inline]
    fn notify(&self, event: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.shared.observer {
            self.notify_cold(&***observer, event);
        }
    }

    #[cold]
    fn notify_cold(&self, observer: &dyn Observer, event: impl FnOnce(&dyn Observer)) {
        if catch::call(|| event(observer)).is_err() {
            self.counters.observer_panics.add();
        }
    }
}

/// The account of one live handle of an `R`.
pub(crate) struct Account<R> {
    accounting: Arc<Accounting>,
    taken_at: &'static Location<'static>,
    details: Details,
    /// The runtime on which the handle was acquired, for a drop outside of any runtime.
    runtime: Option<Runtime>,
    state: AccountState,
    /// The number of the acquisition in its scope.
    order: u32,
    resource: PhantomData<fn() -> R>,
}

#[derive(Clone, Copy)]
enum AccountState {
    /// In use; the handle ends with this exit or a worse one.
    Open(Exit),
    /// The release has begun, with this exit.
    Releasing(Exit),
    Closed,
}

impl<R> Account<R> {
    #[inline(always)]
    pub(crate) fn open(
        accounting: Arc<Accounting>,
        taken_at: &'static Location<'static>,
        details: Details,
        waited: Duration,
    ) -> Self {
        if !accounting.counters.handles.begin() {
            accounting.spread();
        }
        let runtime = Runtime::try_current().ok();
        let state = AccountState::Open(Exit::Completed);
        // Before the account exists: it need not be in memory then.
        accounting.notify(|observer| {
            let subject = Subject::of::<R>(taken_at, &details).in_pool(&accounting.shared.pool);
            observer.acquired(subject, waited);
        });
        Account { accounting, taken_at, details, runtime, state, order: 0, resource: PhantomData }
    }

    pub(crate) fn accounting(&self) -> &Arc<Accounting> {
        &self.accounting
    }

    pub(crate) fn taken_at(&self) -> &'static Location<'static> {
        self.taken_at
    }

    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.runtime.as_ref()
    }

    pub(crate) fn order(&self) -> u32 {
        self.order
    }

    pub(crate) fn set_order(&mut self, order: u32) {
        self.order = order;
    }

    fn subject(&self) -> Subject {
        Subject::of::<R>(self.taken_at, &self.details).in_pool(&self.accounting.shared.pool)
    }

    /// Makes the handle end with `exit` or a worse one.
    pub(crate) fn cap_verdict(&mut self, exit: Exit) {
        self.state = AccountState::Open(self.verdict(exit));
    }

    /// Returns the exit of the handle, if its owner requests this one.
    pub(crate) fn verdict(&self, requested: Exit) -> Exit {
        match self.state {
            AccountState::Open(at_best) => requested.worst(at_best),
            AccountState::Releasing(exit) => exit,
            AccountState::Closed => requested,
        }
    }

    /// Reports that the handle arrived after its scope had been closed.
    pub(crate) fn late(&self) {
        self.accounting.late(self.subject());
    }

    pub(crate) fn begin_release(&mut self, exit: Exit) {
        self.accounting.counters.releasing.add();
        self.state = AccountState::Releasing(exit);
    }

    #[inline]
    pub(crate) fn released(mut self, exit: Exit) {
        self.accounting.notify(|observer| observer.released(self.subject(), exit));
        self.close(RELEASED);
    }

    pub(crate) fn release_failed(mut self, exit: Exit, error: &(dyn Error + 'static)) {
        self.accounting.counters.release_failed.add();
        self.accounting.notify(|observer| observer.release_failed(self.subject(), exit, error));
        self.close(RELEASED);
    }

    pub(crate) fn abandoned(mut self, exit: Exit, why: Abandoned) {
        self.abandon(exit, why);
    }

    pub(crate) fn taken(mut self) {
        self.accounting.notify(|observer| observer.taken(self.subject()));
        self.close(TAKEN);
    }

    #[cold]
    fn abandon(&mut self, exit: Exit, why: Abandoned) {
        self.accounting.notify(|observer| observer.abandoned(self.subject(), exit, why));
        self.close(ABANDONED);
    }

    /// Counts the end of the handle. Called after it has been reported, so that a drain that ends has reported all.
    fn close(&mut self, way: usize) {
        let counters = &self.accounting.counters;
        if let AccountState::Releasing(_) = mem::replace(&mut self.state, AccountState::Closed) {
            counters.releasing.sub();
        }
        self.accounting.ended(counters.handles.end(way));
    }
}

impl<R> Drop for Account<R> {
    #[inline]
    fn drop(&mut self) {
        match self.state {
            AccountState::Open(_) => self.abandon(Exit::of_drop(), Abandoned::NoRuntime),
            AccountState::Releasing(exit) => self.abandon(exit, Abandoned::NoRuntime),
            AccountState::Closed => {}
        }
    }
}

/// The account of a handle whose owner knows the rest of it: a pool, which keeps many. A third of its memory.
pub(crate) struct ParkedAccount<R> {
    /// `None` once it was unparked.
    accounting: Option<Arc<Accounting>>,
    taken_at: &'static Location<'static>,
    resource: PhantomData<fn() -> R>,
}

impl<R> Account<R> {
    /// Parks the account of a handle that belongs to no request, and that is in use.
    pub(crate) fn park(mut self) -> ParkedAccount<R> {
        self.state = AccountState::Closed;
        let accounting = Some(Arc::clone(&self.accounting));
        ParkedAccount { accounting, taken_at: self.taken_at, resource: PhantomData }
    }
}

impl<R> ParkedAccount<R> {
    /// Returns the account of a handle that was acquired on this runtime.
    pub(crate) fn unpark(mut self, runtime: Option<Runtime>) -> Account<R> {
        self.take(runtime).expect("it is unparked once")
    }

    fn take(&mut self, runtime: Option<Runtime>) -> Option<Account<R>> {
        let (accounting, taken_at) = (self.accounting.take()?, self.taken_at);
        let state = AccountState::Open(Exit::Completed);
        Some(Account {
            accounting,
            taken_at,
            details: Details::NONE,
            runtime,
            state,
            order: 0,
            resource: PhantomData,
        })
    }
}

impl<R> Drop for ParkedAccount<R> {
    fn drop(&mut self) {
        // Closes it.
        drop(self.take(None));
    }
}

/// Counts an attempt, until it is dropped. If the scope is closed in the middle of a poll of the attempt, that poll may
/// still return a handle, so a drain that did not wait for it would report a clean end before the last release has
/// begun.
pub(crate) struct Acquiring(Arc<Accounting>);

impl Acquiring {
    pub(crate) fn begin(accounting: &Arc<Accounting>) -> Self {
        accounting.acquisition_begun();
        Self::begun(accounting)
    }

    /// Takes over an attempt that has been counted.
    pub(crate) fn begun(accounting: &Arc<Accounting>) -> Self {
        Acquiring(Arc::clone(accounting))
    }
}

impl Drop for Acquiring {
    fn drop(&mut self) {
        self.0.ended(self.0.counters.acquisitions.end(0));
    }
}

/// Counts a task of the reaper other than a release, until it is dropped.
pub(crate) struct TaskCount {
    /// What a drain waits for. A pair of counters more would cost every drain its share.
    counted: Acquiring,
}

impl TaskCount {
    pub(crate) fn begin(accounting: &Arc<Accounting>) -> Self {
        let counted = Acquiring::begin(accounting);
        counted.0.counters.tasks.add();
        TaskCount { counted }
    }
}

impl Drop for TaskCount {
    fn drop(&mut self) {
        self.counted.0.counters.tasks.sub();
    }
}

/// Waits until nothing is open. Created by [`Accounting::idle`].
pub(crate) struct Idle<'a> {
    accounting: &'a Accounting,
    waiter: WakerTicket,
}

impl Future for Idle<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.accounting.poll_idle(&mut this.waiter, cx.waker())
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.accounting.leave(&mut self.waiter);
    }
}

#[cfg(all(test, not(reqscope_loom)))]
mod tests {
    use std::pin::pin;
    use std::task::Wake;
    use std::thread;

    use super::*;

    fn accounting() -> Arc<Accounting> {
        Accounting::new(Limits::default(), None, None)
    }

    fn is_idle(accounting: &Accounting) -> bool {
        pin!(accounting.idle()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// The fault: three counts shared one word, with room for two million each. 2^21 open scopes were none, and a drain
    /// was clean.
    #[test]
    fn two_million_open_things_are_counted_and_waited_for() {
        const MANY: u64 = 1 << 21;
        let accounting = accounting();
        let counters = &accounting.counters;
        let read = || {
            let Stats { open_scopes, acquiring, live, .. } = accounting.stats();
            [open_scopes, acquiring, live]
        };
        for kind in 0..3 {
            for _ in 0..MANY {
                match kind {
                    0 => accounting.scope_opened(),
                    1 => assert!(counters.acquisitions.begin()),
                    _ => assert!(counters.handles.begin()),
                }
            }
            let mut expected = [0; 3];
            expected[kind] = MANY;
            assert_eq!(read(), expected);
            assert!(!is_idle(&accounting));
            for _ in 0..MANY {
                let watched = match kind {
                    0 => counters.scopes.end(0),
                    1 => counters.acquisitions.end(0),
                    _ => counters.handles.end(TAKEN),
                };
                accounting.ended(watched);
            }
            assert!(is_idle(&accounting));
        }
    }

    #[test]
    fn thread_that_meets_no_other_has_the_first_shard() {
        let accounting = accounting();
        for _ in 0..1_000 {
            accounting.scope_opened();
            accounting.scope_closed();
        }
        assert!(accounting.others().is_empty());
        assert!(Arc::ptr_eq(accounting.own(), &accounting));
    }

    #[test]
    fn threads_that_meet_have_shards_of_their_own() {
        let accounting = accounting();
        let own = || {
            accounting.spread();
            Arc::as_ptr(accounting.own()) as usize
        };
        let shards = thread::scope(|scope| [(); 2].map(|()| scope.spawn(own)).map(|thread| thread.join().unwrap()));
        assert_ne!(shards[0], shards[1]);
        assert!((accounting.others().len() + 1).is_power_of_two());
    }

    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn drain_waits_for_all_shards() {
        let accounting = accounting();
        accounting.scope_opened();
        accounting.spread();
        let other = &accounting.others()[0];
        other.scope_opened();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut drain = pin!(accounting.idle());
        let mut poll = || drain.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        assert!(!poll());
        for (shard, wakes) in [(other, 1), (&accounting, 2)] {
            shard.scope_closed();
            assert_eq!(woken.0.load(Ordering::Relaxed), wakes);
            assert_eq!(poll(), wakes == 2);
        }
        let stats = accounting.stats();
        assert_eq!((stats.opened_scopes, stats.open_scopes), (2, 0));
    }

    #[test]
    fn ends_are_watched_only_while_a_drain_waits() {
        let accounting = accounting();
        accounting.scope_opened();
        accounting.scope_opened();
        assert!(!is_idle(&accounting), "a drain that gives up");
        accounting.scope_closed();
        assert!(!accounting.counters.scopes.end(0));
    }
}
