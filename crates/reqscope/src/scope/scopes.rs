use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::exit::Exit;
use crate::observer::Observer;
use crate::reaper::{Reaper, ReaperBuilder};
use crate::scope::close_error::CloseError;
use crate::scope::{Scope, ScopeHandle};
use crate::stats::{DrainReport, Stats};

/// Opens the scopes of one server, and counts their handles.
///
/// Create one per server, and clone it to where scopes are opened: clones share settings and counters. Dropping it
/// closes nothing; its scopes and their releases continue.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Exit, Scopes};
/// use std::time::Duration;
///
/// let scopes = Scopes::builder().close_timeout(Duration::from_secs(2)).build();
/// scopes.open().close(Exit::Completed).await.unwrap();
///
/// // at shutdown, after the listeners have stopped
/// let report = scopes.drain(Duration::from_secs(10)).await;
/// assert!(report.is_clean());
/// # });
/// ```
#[derive(Clone)]
pub struct Scopes {
    reaper: Reaper,
}

impl Scopes {
    /// Creates scopes with the defaults of [`ScopesBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, to set timeouts and an observer.
    pub fn builder() -> ScopesBuilder {
        ScopesBuilder { reaper: Reaper::builder() }
    }

    /// Opens a scope. This does no I/O, needs no runtime, and makes at most one allocation.
    pub fn open(&self) -> Scope {
        Scope::open(self.reaper.accounting().own())
    }

    /// Runs a job in a scope of its own, for work without a front end: a message of a queue, a timer, a command line.
    ///
    /// The scope is opened at the first poll. When the job has returned `Ok`, the scope is closed as
    /// [`Exit::Completed`], and `run` returns the value only if that close succeeded, for example if the COMMIT did.
    /// When the job has returned an error, the scope is closed as [`Exit::Failed`]. If the job panics, it is closed as
    /// [`Exit::Panicked`], and the panic goes on to the caller.
    ///
    /// The job gets a clone of the scope's handle. A task that it spawns may keep another one, but its handles are
    /// released when the job has returned, not when the task has ended.
    ///
    /// `run` has no timeout. Put `tokio::time::timeout` around it, which drops the job when the time is over.
    ///
    /// # Errors
    ///
    /// - the error of the job; if the close fails after it, the error of the close is only reported to the observer
    /// - the [`CloseError`] of a close after a success, converted by `From`
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while the job runs, the job is dropped, and the scope is closed as
    /// [`Exit::Cancelled`]. If it is dropped during the close, the releases continue in the reaper, with the same exit;
    /// see [`Close`](crate::future::Close).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let scopes = Scopes::new();
    /// # let outbox = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
    /// type AnyError = Box<dyn std::error::Error + Send + Sync>;
    ///
    /// let job = scopes.run(async |scope| {
    ///     let mut outbox = scope.lazy(&outbox).get().await?;
    ///     outbox.push("monthly report");
    ///     Ok::<_, AnyError>(outbox.len())
    /// });
    /// assert_eq!(job.await?, 1);
    ///
    /// // It borrows nothing from `scopes`, so it can be spawned.
    /// tokio::spawn(scopes.run(async |scope| {
    ///     scope.set_label("nightly cleanup");
    ///     Ok::<_, AnyError>(())
    /// }))
    /// .await??;
    /// # Ok::<_, AnyError>(())
    /// # }).unwrap();
    /// ```
    pub fn run<T, E, F, Job>(&self, job: F) -> impl Future<Output = Result<T, E>> + use<T, E, F, Job>
    where
        F: FnOnce(ScopeHandle) -> Job,
        Job: Future<Output = Result<T, E>>,
        E: From<CloseError>,
    {
        let scopes = self.clone();
        async move {
            // Dropped after the job's future, which is dropped first if this one is.
            let scope = scopes.open();
            match job(scope.handle().clone()).await {
                Ok(value) => {
                    scope.close(Exit::Completed).await?;
                    Ok(value)
                }
                Err(error) => {
                    // What it could say has been reported to the observer.
                    drop(scope.close(Exit::Failed).await);
                    Err(error)
                }
            }
        }
    }

    /// Returns the reaper, which runs the releases that no task awaits. Pass it to
    /// [`Lease::acquire_in`](crate::Lease::acquire_in), so that leases outside of any scope are counted and drained
    /// with these scopes.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Lease, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
    /// let scopes = Scopes::new();
    /// let job = Lease::acquire_in(scopes.reaper(), &numbers).await.unwrap();
    /// assert_eq!(scopes.stats().live, 1); // a drain waits for it
    /// Lease::complete(job).await.unwrap();
    /// # });
    /// ```
    pub fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    /// Waits until every scope is closed and every handle is released, detached ones too, or until `timeout` has
    /// passed, counted from the first poll (law L16).
    ///
    /// Nothing is cancelled when the timeout passes; the report says what is left. The drain also waits for scopes that
    /// are opened meanwhile, so stop the listeners first.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, only the report is lost.
    pub fn drain(&self, timeout: Duration) -> impl Future<Output = DrainReport> + Send + use<> {
        self.reaper.drain(timeout)
    }

    /// Returns the counters of all scopes and handles.
    pub fn stats(&self) -> Stats {
        self.reaper.stats()
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scopes").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Builds [`Scopes`].
///
/// Every timeout has a default and none can be disabled, so that no operation waits without a limit by mistake (law
/// L12); [`Duration::MAX`] is practically no limit.
///
/// ```
/// use reqscope::{Observer, Scopes};
/// use std::time::Duration;
///
/// struct Metrics;
/// impl Observer for Metrics {}
///
/// let scopes = Scopes::builder()
///     .acquire_timeout(Duration::from_secs(10))
///     .close_timeout(Duration::from_secs(2))
///     .lend_timeout(Duration::from_secs(1))
///     .observer(Metrics)
///     .build();
/// # drop(scopes);
/// ```
#[must_use]
pub struct ScopesBuilder {
    reaper: ReaperBuilder,
}

impl ScopesBuilder {
    /// Sets the maximum time of one acquisition. Defaults to 60 s, which is longer than the timeouts of pools and
    /// drivers, so that their more specific errors come first.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.reaper = self.reaper.acquire_timeout(timeout);
        self
    }

    /// Sets the maximum time of a close. It applies to all releases that the response waits for together, and to each
    /// of the other releases. Defaults to 5 s, which is long for a COMMIT and short for a client that waits for a
    /// response.
    ///
    /// This is also the [release timeout](ReaperBuilder::release_timeout) of the reaper, and so of leases acquired with
    /// it.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.reaper.limits.close = timeout;
        self.reaper = self.reaper.release_timeout(timeout);
        self
    }

    /// Sets how long a `get` waits for a guard that another task of the same request holds. Defaults to 5 s, because a
    /// longer wait is more often a deadlock than work.
    pub fn lend_timeout(mut self, timeout: Duration) -> Self {
        self.reaper.limits.lend = timeout;
        self
    }

    /// Sets the maximum time of one future of [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed). Defaults
    /// to 30 s; see [`ReaperBuilder::task_timeout`](crate::reaper::ReaperBuilder::task_timeout).
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.reaper = self.reaper.task_timeout(timeout);
        self
    }

    /// Sets the observer of events that no task awaits. Defaults to none; the counters work without one. A later call
    /// replaces an earlier one.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.reaper = self.reaper.observer(observer);
        self
    }

    /// Creates the scopes, with a reaper of their own. This does no I/O and needs no runtime.
    pub fn build(self) -> Scopes {
        Scopes { reaper: self.reaper.build() }
    }
}

impl fmt::Debug for ScopesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopesBuilder").finish_non_exhaustive()
    }
}
