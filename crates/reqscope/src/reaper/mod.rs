//! The reaper: async release from `Drop`, and the counters of all handles.

pub(crate) mod counters;
pub(crate) mod account;
pub(crate) mod task;

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::error::Stage;
use crate::observer::Observer;
use crate::reaper::account::{Accounting, Limits};
use crate::reaper::task::{Work, WorkTask};
use crate::rt::catch::Quiet;
use crate::rt::runtime::{Runtime, coop};
use crate::rt::time::{self, Deadline};
use crate::stats::{DrainReport, Stats};

/// Runs the async release of handles that are dropped, in tasks of its own.
///
/// `Drop` cannot await. A scope, lease or guard that is dropped without having been closed or ended hands its release
/// to the reaper, which runs it in a task on the current tokio runtime, or else, also if the current one has no timers,
/// on the one that acquired the handle.
/// Each release has a deadline, and a release that hangs does not delay the others. Without a live runtime the handle
/// is dropped in place and counted as abandoned.
///
/// Each [`Scopes`](crate::Scopes) has a reaper of its own. Leases outside of any scope use [`Reaper::global`], unless
/// they are acquired [in another one](crate::Lease::acquire_in). Clones refer to the same reaper.
///
/// # What it is not
///
/// The reaper is not a task, thread or queue: it costs nothing while nothing is released.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Lease, Reaper, resource_fn};
/// use std::{convert::Infallible, sync::Arc, time::Duration};
///
/// let reaper = Reaper::new();
/// let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
///
/// drop(Lease::acquire_in(&reaper, &numbers).await.unwrap());
///
/// let report = reaper.drain(Duration::from_secs(1)).await;
/// assert!(report.is_clean());
/// assert_eq!(reaper.stats().released, 1);
/// # });
/// ```
#[derive(Clone)]
pub struct Reaper {
    /// The first shard.
    accounting: Arc<Accounting>,
}

/// A future, and the line of code that passed it to its caller.
type LocatedFuture = (Pin<Box<dyn Future<Output = ()> + Send>>, &'static Location<'static>);

impl Reaper {
    /// Creates a reaper with the defaults of [`ReaperBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, to set timeouts and an observer.
    pub fn builder() -> ReaperBuilder {
        ReaperBuilder { limits: Limits::default(), observer: None, pool: None }
    }

    /// Returns the reaper of leases that are not acquired with another one. It has the default timeouts and no
    /// observer, only counters.
    ///
    /// With it, a program can wait at its end even for the leases of a library that does not use its
    /// [`Scopes`](crate::Scopes):
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::Reaper;
    /// # use std::time::Duration;
    /// let report = Reaper::global().drain(Duration::from_secs(5)).await;
    /// assert_eq!(report.live, 0);
    /// # });
    /// ```
    pub fn global() -> &'static Reaper {
        static GLOBAL: OnceLock<Reaper> = OnceLock::new();
        GLOBAL.get_or_init(Reaper::new)
    }

    /// Returns the counters of all handles acquired under this reaper.
    pub fn stats(&self) -> Stats {
        self.accounting.stats()
    }

    /// Waits until no scope is open, no acquisition is running and no handle is live, or until `timeout` has passed,
    /// counted from the first poll.
    ///
    /// Nothing is cancelled when the timeout passes; the report says what is left. New handles may be acquired
    /// meanwhile, so stop the listeners first. On a runtime without timers, where no timeout can be kept, the future
    /// returns the report at once.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, only the report is lost.
    pub fn drain(&self, timeout: Duration) -> impl Future<Output = DrainReport> + Send + use<> {
        let accounting = Arc::clone(&self.accounting);
        async move {
            let before = accounting.stats();
            let mut deadline = Deadline::after(timeout);
            let mut idle = accounting.idle();
            poll_fn(|cx| {
                let budget = ready!(coop::poll_proceed(cx));
                if Pin::new(&mut idle).poll(cx).is_pending() {
                    // Without timers there is no deadline: return the report rather than wait without a limit.
                    drop(ready!(deadline.poll_missed::<Infallible>(Stage::Waiting, cx)));
                }
                budget.made_progress();
                Poll::Ready(())
            })
            .await;
            let after = accounting.stats();
            DrainReport {
                released: after.released - before.released,
                abandoned: after.abandoned - before.abandoned,
                open_scopes: after.open_scopes,
                acquiring: after.acquiring,
                tasks: after.tasks,
                live: after.live,
                waited: deadline.elapsed(),
            }
        }
    }

    /// Runs futures as [`spawn`](Reaper::spawn) does, one after the other, with the lines of code that passed them to the
    /// caller. For front ends. `release`, which comes first, has a deadline of its own and not that of tasks.
    #[doc(hidden)]
    pub fn spawn_in_order(&self, release: Option<LocatedFuture>, work: impl IntoIterator<Item = LocatedFuture>) {
        let release = release.map(|(future, spawned_at)| Work::new(future, spawned_at).unlimited());
        let work = work.into_iter().map(|(future, spawned_at)| Work::new(future, spawned_at));
        let work = release.into_iter().chain(work).collect();
        spawn(None, WorkTask::new(Arc::clone(&self.accounting), work));
    }

    /// Returns the reaper to which a shard belongs.
    pub(crate) fn of_shard(shard: &Arc<Accounting>) -> Self {
        Reaper { accounting: shard.first() }
    }

    /// Returns the shard of this thread.
    pub(crate) fn own_shard(&self) -> Arc<Accounting> {
        Arc::clone(self.accounting.own())
    }

    pub(crate) fn accounting(&self) -> &Arc<Accounting> {
        &self.accounting
    }
}

/// Spawns a release, so that it runs to its end without its owner. Nothing of it runs in this call.
///
/// The current runtime comes first, because it is more likely to be alive than `home`, on which the handle was
/// acquired. But without timers it could not keep the deadline of the release, and `home` comes first. The first one
/// may have ended, or be shutting down, and drop what is spawned on it; the release is then spawned on the other one,
/// once. The future must not hand itself to the reaper when it is dropped, because it would do so again and again.
pub(crate) fn spawn(home: Option<Runtime>, release: impl Future<Output = ()> + Send + 'static) {
    match (Runtime::try_current().ok(), home) {
        (Some(current), Some(home)) if current.id() != home.id() => {
            let (first, fallback) = if time::has_timers() { (current, home) } else { (home, current) };
            drop(first.spawn(ReleaseTask { release: Some(Box::pin(release)), fallback }));
        }
        (Some(runtime), _) | (None, Some(runtime)) => drop(runtime.spawn(release)),
        (None, None) => drop(release),
    }
}

/// A release that is spawned on one runtime, and on `fallback` if that runtime drops it.
struct ReleaseTask {
    /// `None` once the release has ended.
    release: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    fallback: Runtime,
}

impl Future for ReleaseTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(release) = &mut self.release {
            ready!(release.as_mut().poll(cx));
            self.release = None;
        }
        Poll::Ready(())
    }
}

impl Drop for ReleaseTask {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            drop(self.fallback.spawn(release));
        }
    }
}

impl Default for Reaper {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Builds a [`Reaper`].
///
/// Every timeout has a default and none can be disabled, so that no operation waits without a limit by mistake (law
/// L12); [`Duration::MAX`] is practically no limit.
///
/// ```
/// use reqscope::observer::{Abandoned, Subject};
/// use reqscope::{Exit, Observer, Reaper};
/// use std::time::Duration;
///
/// struct Log;
///
/// impl Observer for Log {
///     fn abandoned(&self, of: Subject, _exit: Exit, why: Abandoned) {
///         eprintln!("{}: {why}", of.resource);
///     }
/// }
///
/// let reaper = Reaper::builder()
///     .acquire_timeout(Duration::from_secs(10))
///     .release_timeout(Duration::from_secs(2))
///     .observer(Log)
///     .build();
/// # drop(reaper);
/// ```
#[must_use]
pub struct ReaperBuilder {
    pub(crate) limits: Limits,
    observer: Option<Quiet<Box<dyn Observer>>>,
    /// The name of the pool that has this reaper, for the observer.
    pool: Option<Arc<str>>,
}

impl ReaperBuilder {
    /// Sets the maximum time of one acquisition. Defaults to 60 s, which is longer than the timeouts of pools and
    /// drivers, so that their more specific errors come first.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.limits.acquire = timeout;
        self
    }

    /// Sets the maximum time of one release, after which the handle is dropped and counted as abandoned. Defaults to 5
    /// s, which is long for a COMMIT or a ROLLBACK, and short for a waiter that needs the pool slot.
    pub fn release_timeout(mut self, timeout: Duration) -> Self {
        self.limits.release = timeout;
        self
    }

    /// Sets the maximum time of one future of [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed) and
    /// [`Reaper::spawn`]. Defaults to 30 s: long for a mail or an event, and no longer than most orchestrators wait for a
    /// shutdown.
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.limits.task = timeout;
        self
    }

    /// Sets the observer of events that no task awaits. Defaults to none; the counters work without one. A later call
    /// replaces an earlier one.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Quiet::new(Box::new(observer)));
        self
    }

    /// Makes this the reaper of a pool of that name.
    pub(crate) fn pool(mut self, name: &str) -> Self {
        self.pool = Some(name.into());
        self
    }

    /// Creates the reaper. This does no I/O and needs no runtime.
    pub fn build(self) -> Reaper {
        Reaper { accounting: Accounting::new(self.limits, self.observer, self.pool) }
    }
}

impl fmt::Debug for ReaperBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaperBuilder").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(reqscope_loom)))]
mod tests {
    use super::*;

    fn of_two_shards() -> (Reaper, Arc<Accounting>) {
        let reaper = Reaper::new();
        reaper.accounting.spread();
        let shard = reaper.own_shard();
        assert!(!Arc::ptr_eq(&shard, &reaper.accounting));
        (reaper, shard)
    }

    /// The fault: the reaper of a lease was the shard that counted it, and its drain was clean while the other shards
    /// were not.
    #[test]
    fn reaper_of_each_shard_is_the_whole_reaper() {
        let (reaper, other) = of_two_shards();
        reaper.accounting.scope_opened();
        for shard in [&other, &reaper.accounting] {
            assert_eq!(Reaper::of_shard(shard).stats().open_scopes, 1);
        }
    }

    #[test]
    fn shard_that_outlives_its_reaper_stands_for_itself() {
        let (reaper, shard) = of_two_shards();
        drop(reaper);
        shard.scope_opened();
        assert_eq!(Reaper::of_shard(&shard).stats().open_scopes, 1);
    }
}
