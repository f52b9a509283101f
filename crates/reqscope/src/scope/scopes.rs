use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::observer::Observer;
use crate::reaper::{Reaper, ReaperBuilder};
use crate::scope::Scope;
use crate::scope::state::Settings;
use crate::stats::{DrainReport, Stats};

/// Opens the scopes of one server, and keeps their books.
///
/// One per server, cloned to wherever scopes are opened: clones are the same. Dropping it closes nothing; its scopes
/// and their releases go on.
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
    settings: Arc<Settings>,
}

impl Scopes {
    /// With the defaults of [`ScopesBuilder`].
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// To set timeouts and an observer.
    pub fn builder() -> ScopesBuilder {
        ScopesBuilder {
            reaper: Reaper::builder(),
            close_timeout: Duration::from_secs(5),
            lend_timeout: Duration::from_secs(5),
        }
    }

    /// Opens a scope. No I/O, no runtime, at most one allocation.
    pub fn open(&self) -> Scope {
        Scope::open(Arc::clone(&self.settings))
    }

    /// Where the releases run that nobody awaits. Give it to [`Lease::acquire_in`](crate::Lease::acquire_in), so
    /// that leases outside of any scope are on the same books.
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
        &self.settings.reaper
    }

    /// Waits until every scope is closed and every handle is released, detached ones too, or until `timeout` has
    /// passed, counted from the first poll (law L16).
    ///
    /// Nothing is cancelled when it passes; the report says what is left. New scopes may be opened meanwhile, and are
    /// waited for too: stop the listeners first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses only the report.
    pub fn drain(&self, timeout: Duration) -> impl Future<Output = DrainReport> + Send + use<> {
        self.settings.reaper.drain(timeout)
    }

    /// The counters of all its scopes and handles.
    pub fn stats(&self) -> Stats {
        self.settings.reaper.stats()
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

/// Sets up [`Scopes`].
///
/// Every timeout has a default and none can be switched off, so that nothing waits for ever by an oversight (law L12);
/// [`Duration::MAX`] comes close.
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
    close_timeout: Duration,
    lend_timeout: Duration,
}

impl ScopesBuilder {
    /// How long one acquisition may take. Default: 60 s, above what a pool or a driver sets, so that theirs, which
    /// know more, speak first.
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.reaper = self.reaper.acquire_timeout(timeout);
        self
    }

    /// How long all releases together may take for which the client waits, and each of the others by itself.
    /// Default: 5 s, long for a COMMIT, short for somebody who waits for an answer.
    ///
    /// It is the [release timeout](ReaperBuilder::release_timeout) of their reaper too, and so that of the leases on its
    /// books.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self.reaper = self.reaper.release_timeout(timeout);
        self
    }

    /// How long a `get` waits for a guard that another task of the same request holds. Default: 5 s, since longer
    /// is more often a deadlock than work.
    pub fn lend_timeout(mut self, timeout: Duration) -> Self {
        self.lend_timeout = timeout;
        self
    }

    /// Who hears of what nobody awaits. Default: nobody; the counters count all the same. Said twice, the last one
    /// counts.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.reaper = self.reaper.observer(observer);
        self
    }

    /// Makes the scopes, with a reaper of their own. No I/O, no runtime.
    pub fn build(self) -> Scopes {
        let Self { reaper, close_timeout, lend_timeout } = self;
        let settings =
            Settings { reaper: reaper.build(), close_timeout, lend_timeout, duplicated_types: Default::default() };
        Scopes { settings: Arc::new(settings) }
    }
}

impl fmt::Debug for ScopesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopesBuilder").finish_non_exhaustive()
    }
}
