//! The reaper: async release from `Drop`, and the counters of what it does.

pub(crate) mod account;

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::error::Stage;
use crate::observer::Observer;
use crate::reaper::account::{Accounting, Limits};
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;
use crate::stats::{DrainReport, Stats};

/// The one door through which code in a `Drop` reaches an async release, and the one place that spawns it.
///
/// `Drop` cannot await. What is dropped without having been closed or completed is handed to the reaper, which runs
/// its release in a task on the current tokio runtime, or else on the one that acquired the handle. Each release has
/// a deadline; one that hangs holds up no other. Without a live runtime the handle is dropped in place and counted
/// as abandoned.
///
/// Each [`Scopes`](crate::Scopes) has a reaper of its own. Leases taken outside of any scope use
/// [`Reaper::global`], unless they name another one. It is a handle: clones are the same reaper.
///
/// # What it is not
///
/// No task, no thread and no queue: it costs nothing while nothing is released.
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
    accounting: Arc<Accounting>,
}

impl Reaper {
    /// A reaper with the defaults of [`ReaperBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// To set timeouts and an observer.
    pub fn builder() -> ReaperBuilder {
        ReaperBuilder { limits: Limits::default(), observer: None }
    }

    /// The reaper of leases that name none. It has the default timeouts and no observer, only counters.
    ///
    /// A library that is given no [`Scopes`](crate::Scopes) still lets its program wait at its end:
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

    /// The counters of everything acquired under this reaper.
    pub fn stats(&self) -> Stats {
        self.accounting.stats()
    }

    /// Waits until no scope is open, no acquisition is under way and no handle is live, or until `timeout` has passed,
    /// counted from the first poll.
    ///
    /// Nothing is cancelled when it passes: what still runs goes on, and the report says how much that is. New
    /// handles may be acquired meanwhile; stop the listeners first. On a runtime without timers, where a timeout could
    /// not be kept, it reports at once what there is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses only the report.
    pub fn drain(&self, timeout: Duration) -> impl Future<Output = DrainReport> + Send + use<> {
        let accounting = Arc::clone(&self.accounting);
        async move {
            let before = accounting.stats();
            let mut deadline = Deadline::after(timeout);
            poll_fn(|cx| match accounting.poll_idle(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                // Without timers there is no deadline: report what there is rather than wait for ever.
                Poll::Pending => deadline.poll_missed::<Infallible>(Stage::Waiting, cx).map(drop),
            })
            .await;
            let after = accounting.stats();
            DrainReport {
                released: after.released - before.released,
                abandoned: after.abandoned - before.abandoned,
                open_scopes: after.open_scopes,
                acquiring: after.acquiring,
                live: after.live,
                waited: deadline.elapsed(),
            }
        }
    }

    pub(crate) fn into_accounting(self) -> Arc<Accounting> {
        self.accounting
    }

    pub(crate) fn accounting(&self) -> &Arc<Accounting> {
        &self.accounting
    }
}

/// Runs a release to its end, wherever its owner has gone.
///
/// The current runtime is asked first: it is alive more surely than `home`, where the handle was acquired. But it may
/// be the one that is shutting down, and drop what is spawned on it; then it is home's turn, once. The future must not
/// hand itself to the reaper when it is dropped: it would come back for ever.
pub(crate) fn spawn(fallback: Option<Runtime>, release: impl Future<Output = ()> + Send + 'static) {
    match (Runtime::try_current().ok(), fallback) {
        (Some(current), Some(fallback)) if current.id() != fallback.id() => {
            drop(current.spawn(ReleaseTask { release: Some(Box::pin(release)), fallback }));
        }
        (Some(runtime), _) | (None, Some(runtime)) => drop(runtime.spawn(release)),
        (None, None) => drop(release),
    }
}

/// A release on a runtime that is not its home, to which it goes if that one drops it.
struct ReleaseTask {
    /// `None` after the end.
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

/// Sets up a [`Reaper`].
///
/// Every timeout has a default and none can be switched off, so that nothing waits for ever by an oversight (law L12);
/// [`Duration::MAX`] comes close.
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
    limits: Limits,
    observer: Option<Box<dyn Observer>>,
}

impl ReaperBuilder {
    /// How long one acquisition may take. Default: 60 s, above what a pool or a driver sets, so that theirs, which
    /// know more, speak first.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.limits.acquire = timeout;
        self
    }

    /// How long one release may take; after that the handle is dropped and counted as abandoned. Default: 5 s,
    /// long for a COMMIT or a ROLLBACK, short for a slot that somebody waits for.
    pub fn release_timeout(mut self, timeout: Duration) -> Self {
        self.limits.release = timeout;
        self
    }

    /// Who hears of what nobody awaits. Default: nobody; the counters count all the same. Said twice, the last one
    /// counts.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Makes the reaper. No I/O, no runtime.
    pub fn build(self) -> Reaper {
        Reaper { accounting: Arc::new(Accounting::new(self.limits, self.observer)) }
    }
}

impl fmt::Debug for ReaperBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaperBuilder").finish_non_exhaustive()
    }
}
