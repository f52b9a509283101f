use std::collections::HashSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use reqscope::pool::PoolBuilder;
use reqscope::{Error, Exit, Lease, Pool, Pooled, Resource};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, poll_once};
use tokio::runtime::Runtime;

use crate::support::bounded;
use crate::watchdog::watch;

/// A pool over a probe, whose counters are checked at the end of each test.
pub(super) struct Rig {
    pub(super) pool: Arc<Pool<Probe>>,
    pub(super) probe: Probe,
}

/// A resource around a lease of a pool, like a transaction.
pub(super) struct Around(pub(super) Arc<Pool<Probe>>);

impl Resource for Around {
    type Handle = Lease<Pool<Probe>>;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<Self::Handle, Error<Scripted>> {
        tokio::task::yield_now().await; // so that the acquisition moves to a task
        Lease::acquire(&self.0).await
    }

    async fn release(&self, lease: Self::Handle, exit: Exit) -> Result<(), Error<Scripted>> {
        Lease::end(lease, exit).await
    }
}

/// A `get` that waits, after its first poll.
pub(super) type Waiter = Pin<Box<dyn Future<Output = Result<Pooled<Probe>, Error<Scripted>>> + Send>>;

impl Rig {
    pub(super) fn new(size: usize) -> Self {
        Self::configured(Probe::new(), |builder| builder.max_size(size))
    }

    pub(super) fn configured(probe: Probe, configure: impl FnOnce(PoolBuilder<Probe>) -> PoolBuilder<Probe>) -> Self {
        watch();
        let pool = Arc::new(configure(Pool::builder()).build(probe.clone()));
        Rig { pool, probe }
    }

    /// Takes a handle out, which must succeed.
    pub(super) async fn take(&self) -> Pooled<Probe> {
        bounded(self.pool.get()).await.unwrap()
    }

    pub(super) async fn take_all(&self, count: usize) -> Vec<Pooled<Probe>> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.take().await);
        }
        taken
    }

    /// Creates so many idle handles, each used once.
    pub(super) async fn fill(&self, count: usize) {
        self.put_all(self.take_all(count).await);
    }

    pub(super) fn put_all(&self, handles: impl IntoIterator<Item = Pooled<Probe>>) {
        handles.into_iter().for_each(|handle| self.pool.put(handle));
    }

    /// Begins a `get` that has to wait.
    #[track_caller]
    pub(super) fn waiter(&self) -> Waiter {
        let mut get: Waiter = Box::pin(self.pool.get());
        assert!(poll_once(get.as_mut()).is_pending(), "the get has to wait");
        get
    }

    /// Begins so many `get`s that have to wait. Between them the task yields, or its budget of polls would end.
    pub(super) async fn waiters(&self, count: usize) -> Vec<Waiter> {
        let mut waiters = Vec::new();
        for _ in 0..count {
            tokio::task::yield_now().await;
            waiters.push(self.waiter());
        }
        waiters
    }

    /// Begins a `get` that has to wait, on this runtime.
    #[track_caller]
    pub(super) fn waiter_on(&self, runtime: &Runtime) -> Waiter {
        let _context = runtime.enter();
        self.waiter()
    }

    /// Returns the counts of in use, idle, creating, ending and waiting.
    pub(super) fn counts(&self) -> [usize; 5] {
        let status = self.pool.status();
        [status.in_use, status.idle, status.creating, status.ending, status.waiting]
    }

    /// Asserts that no slot is lost: with a working backend each slot serves one user, and after the close every handle
    /// that was ever created is released, except for those `abandoned`. All handles must have been returned.
    pub(super) async fn finish(self, abandoned: u64) {
        for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
            self.probe.on(verb).always(Outcome::ok());
        }
        // Longer than every timeout here, so that hanging calls have timed out and the breaker is closed.
        tokio::time::sleep(Duration::from_secs(120)).await;
        let [in_use, _, creating, ending, waiting] = self.counts();
        assert_eq!([in_use, creating, ending, waiting], [0; 4], "a slot is lost: {:?}", self.pool);
        let max_size = self.pool.status().max_size;
        let all = self.take_all(max_size).await;
        let different: HashSet<u64> = all.iter().map(|handle| handle.id()).collect();
        assert_eq!(different.len(), max_size, "a handle is lent twice");
        assert!(poll_once(pin!(self.pool.get())).is_pending(), "there is one handle too many");
        self.put_all(all);
        self.closes_clean(abandoned).await;
    }

    pub(super) async fn closes_clean(self, abandoned: u64) {
        let report = self.pool.close(Duration::from_secs(60)).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(self.counts(), [0; 5], "{:?}", self.pool);
        self.assert_balanced(abandoned);
    }

    /// Asserts on the probe's own counters: no handle is live, and none ended twice.
    pub(super) fn assert_balanced(&self, abandoned: u64) {
        let counts = self.probe.counts();
        assert_eq!((counts.live(), counts.acquiring), (0, 0), "a handle is still live: {counts:?}");
        assert_eq!(counts.abandoned, abandoned, "dropped without a release: {counts:?}");
        let wrong = (counts.double_released, counts.used_after_release, counts.used_in_doubt);
        assert_eq!(wrong, (0, 0, 0), "{counts:?}");
    }
}
