//! The accounting: every handle has an account, which is opened once and closed once.
//!
//! 1. `acquired == released + abandoned + taken + live`, whenever no thread is inside of one of these functions.
//! 2. An account that is dropped without having been closed is closed by its `Drop`, as abandoned.
//! 3. `InFlight` is idle exactly when no scope is open, no acquisition has a task of its own, and no handle is live;
//!    the call that makes it idle wakes the drains that wait for it.

use std::error::Error;
use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::details::Details;
use crate::exit::Exit;
use crate::observer::{Abandoned, Observer, Subject};
use crate::rt::catch::{self, Quiet};
use crate::rt::runtime::Runtime;
use crate::rt::sync::{AtomicU64, Mutex, Ordering};
use crate::rt::wakers::{WakerList, WakerTicket};
use crate::stats::Stats;

/// The counters of all handles of one reaper, its observer, and its time limits.
#[derive(Default)]
pub(crate) struct Accounting {
    pub(crate) limits: Limits,
    observer: Option<Quiet<Box<dyn Observer>>>,
    /// The name of the pool whose handles these are.
    pool: Option<Arc<str>>,
    in_flight: InFlight,
    acquired: AtomicU64,
    released: AtomicU64,
    release_failed: AtomicU64,
    abandoned: AtomicU64,
    taken: AtomicU64,
    late: AtomicU64,
    lent_too_long: AtomicU64,
    still_lent: AtomicU64,
    acquire_failed: AtomicU64,
    opened: AtomicU64,
    releasing: AtomicU64,
    tasks_failed: AtomicU64,
    observer_panics: AtomicU64,
}

/// The time limits of an acquisition and of a release.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) acquire: Duration,
    pub(crate) release: Duration,
    pub(crate) task: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { acquire: Duration::from_secs(60), release: Duration::from_secs(5), task: Duration::from_secs(30) }
    }
}

/// Increments a counter. Relaxed: each counter is read by itself, and needs no order with the others.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Accounting {
    pub(crate) fn new(limits: Limits, observer: Option<Quiet<Box<dyn Observer>>>, pool: Option<Arc<str>>) -> Self {
        Accounting { limits, observer, pool, ..Accounting::default() }
    }

    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [open_scopes, acquiring, live] = self.in_flight.read();
        Stats {
            opened_scopes: read(&self.opened),
            open_scopes,
            acquiring,
            acquired: read(&self.acquired),
            acquire_failed: read(&self.acquire_failed),
            live,
            released: read(&self.released),
            release_failed: read(&self.release_failed),
            pending_releases: read(&self.releasing),
            abandoned: read(&self.abandoned),
            taken: read(&self.taken),
            late: read(&self.late),
            lent_too_long: read(&self.lent_too_long),
            still_lent: read(&self.still_lent),
            tasks_failed: read(&self.tasks_failed),
            observer_panics: read(&self.observer_panics),
        }
    }

    pub(crate) fn scope_opened(&self) {
        count(&self.opened);
        self.in_flight.add(InFlight::SCOPE);
    }

    pub(crate) fn scope_closed(&self) {
        self.in_flight.sub(InFlight::SCOPE);
    }

    pub(crate) fn acquire_failed(&self, of: Subject, error: &(dyn Error + 'static)) {
        count(&self.acquire_failed);
        self.notify(|observer| observer.acquire_failed(of.in_pool(&self.pool), error));
    }

    pub(crate) fn late(&self, of: Subject) {
        count(&self.late);
        self.notify(|observer| observer.late(of.in_pool(&self.pool)));
    }

    pub(crate) fn lent_too_long(&self, of: Subject, held_since: &'static Location<'static>) {
        count(&self.lent_too_long);
        self.notify(|observer| observer.lent_too_long(of.in_pool(&self.pool), held_since));
    }

    pub(crate) fn held_too_long(&self, of: Subject, held: Duration) {
        self.notify(|observer| observer.held_too_long(of.in_pool(&self.pool), held));
    }

    pub(crate) fn still_lent(&self, of: Subject) {
        count(&self.still_lent);
        self.notify(|observer| observer.still_lent(of.in_pool(&self.pool)));
    }

    pub(crate) fn task_failed(&self, spawned_at: &'static Location<'static>, error: &(dyn Error + 'static)) {
        count(&self.tasks_failed);
        self.notify(|observer| observer.task_failed(spawned_at, error));
    }

    pub(crate) fn second_resource(&self, resource: &'static str) {
        self.notify(|observer| observer.second_resource(resource));
    }

    /// Waits until nothing is in flight.
    pub(crate) fn idle(&self) -> Idle<'_> {
        Idle { in_flight: &self.in_flight, waiter: WakerTicket::default() }
    }

    #[inline]
    fn notify(&self, event: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.observer {
            self.notify_cold(&***observer, event);
        }
    }

    #[cold]
    fn notify_cold(&self, observer: &dyn Observer, event: impl FnOnce(&dyn Observer)) {
        if catch_unwind(AssertUnwindSafe(|| event(observer))).is_err() {
            count(&self.observer_panics);
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
    #[inline]
    pub(crate) fn open(
        accounting: Arc<Accounting>,
        taken_at: &'static Location<'static>,
        details: Details,
        waited: Duration,
    ) -> Self {
        accounting.in_flight.add(InFlight::HANDLE);
        count(&accounting.acquired);
        let runtime = Runtime::try_current().ok();
        let state = AccountState::Open(Exit::Completed);
        let account = Account { accounting, taken_at, details, runtime, state, resource: PhantomData };
        account.accounting.notify(|observer| observer.acquired(account.subject(), waited));
        account
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

    fn subject(&self) -> Subject {
        Subject::of::<R>(self.taken_at, &self.details).in_pool(&self.accounting.pool)
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
        count(&self.accounting.releasing);
        self.state = AccountState::Releasing(exit);
    }

    #[inline]
    pub(crate) fn released(mut self, exit: Exit) {
        count(&self.accounting.released);
        self.accounting.notify(|observer| observer.released(self.subject(), exit));
        self.close();
    }

    pub(crate) fn release_failed(mut self, exit: Exit, error: &(dyn Error + 'static)) {
        count(&self.accounting.released);
        count(&self.accounting.release_failed);
        self.accounting.notify(|observer| observer.release_failed(self.subject(), exit, error));
        self.close();
    }

    pub(crate) fn abandoned(mut self, exit: Exit, why: Abandoned) {
        self.abandon(exit, why);
    }

    pub(crate) fn taken(mut self) {
        count(&self.accounting.taken);
        self.accounting.notify(|observer| observer.taken(self.subject()));
        self.close();
    }

    #[cold]
    fn abandon(&mut self, exit: Exit, why: Abandoned) {
        count(&self.accounting.abandoned);
        self.accounting.notify(|observer| observer.abandoned(self.subject(), exit, why));
        self.close();
    }

    /// Called after the counters are written, so that a drain that sees nothing in flight sees complete counters.
    fn close(&mut self) {
        if let AccountState::Releasing(_) = mem::replace(&mut self.state, AccountState::Closed) {
            self.accounting.releasing.fetch_sub(1, Ordering::Relaxed);
        }
        self.accounting.in_flight.sub(InFlight::HANDLE);
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

/// Counts an attempt that a cell has begun, until it is dropped. If the scope is closed in the middle of a poll of the
/// attempt, that poll may still return a handle, so a drain that did not wait for it would report a clean end before
/// the last release has begun.
pub(crate) struct Acquiring(Arc<Accounting>);

impl Acquiring {
    pub(crate) fn begin(accounting: &Arc<Accounting>) -> Self {
        accounting.in_flight.add(InFlight::ACQUISITION);
        Acquiring(Arc::clone(accounting))
    }
}

impl Drop for Acquiring {
    fn drop(&mut self) {
        self.0.in_flight.sub(InFlight::ACQUISITION);
    }
}

/// Counts a task of the reaper other than a release, until it is dropped.
pub(crate) struct TaskCount {
    _counted: Acquiring,
}

impl TaskCount {
    pub(crate) fn begin(accounting: &Arc<Accounting>) -> Self {
        TaskCount { _counted: Acquiring::begin(accounting) }
    }
}

/// Three counts in one word, so that one load tells whether all of them are zero: live handles in the lowest bits, then
/// acquisitions, then open scopes, and above them a bit that is set while a drain waits. Each count has room for two
/// million; one that overflows is reported wrongly, but not taken for idle.
#[derive(Default)]
struct InFlight {
    word: AtomicU64,
    drainers: Mutex<WakerList>,
}

impl InFlight {
    const HANDLE: u64 = 1;
    const ACQUISITION: u64 = Self::HANDLE << 21;
    const SCOPE: u64 = Self::ACQUISITION << 21;
    const DRAINERS: u64 = Self::SCOPE << 21;

    fn add(&self, unit: u64) {
        // Relaxed: incrementing a count wakes no drain.
        self.word.fetch_add(unit, Ordering::Relaxed);
    }

    fn sub(&self, unit: u64) {
        // Release, for the Acquire in `poll_idle`: a drain that reads zero sees the counters that were written before.
        if self.word.fetch_sub(unit, Ordering::AcqRel) == unit | Self::DRAINERS {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let mut drainers = self.drainers.lock();
        let woken = drainers.take_all();
        // Cleared under the lock, as it is set: the bit is set whenever the list is not empty.
        self.word.fetch_and(!Self::DRAINERS, Ordering::Relaxed);
        drop(drainers);
        catch::wake_all(woken);
    }

    /// Returns the counts of open scopes, acquisitions and live handles.
    fn read(&self) -> [u64; 3] {
        let word = self.word.load(Ordering::Relaxed) & !Self::DRAINERS;
        [word / Self::SCOPE, word % Self::SCOPE / Self::ACQUISITION, word % Self::ACQUISITION]
    }

    fn poll_idle(&self, waiter: &mut WakerTicket, waker: &Waker) -> Poll<()> {
        // Cloned and dropped outside of the lock, because a waker is user code.
        let waker = waker.clone();
        let mut drainers = self.drainers.lock();
        let old = drainers.register(waiter, waker);
        // One atomic operation on one word: either the last `sub` comes later and sees the bit, or this load sees its
        // zero.
        let before = self.word.fetch_or(Self::DRAINERS, Ordering::AcqRel);
        drop(drainers);
        drop(old);
        if before & !Self::DRAINERS != 0 {
            return Poll::Pending;
        }
        self.wake();
        Poll::Ready(())
    }

    fn leave(&self, waiter: &mut WakerTicket) {
        if waiter.is_registered() {
            let waker = self.drainers.lock().leave(waiter);
            catch::drop_quietly(waker);
        }
    }
}

/// Waits until nothing is in flight. Created by [`Accounting::idle`].
pub(crate) struct Idle<'a> {
    in_flight: &'a InFlight,
    waiter: WakerTicket,
}

impl Future for Idle<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.in_flight.poll_idle(&mut this.waiter, cx.waker())
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.in_flight.leave(&mut self.waiter);
    }
}
