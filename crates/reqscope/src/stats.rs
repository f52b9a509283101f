//! Counters and the report of a drain.

use std::time::Duration;

/// Counters and gauges of a [`Scopes`](crate::Scopes) or a [`Reaper`](crate::Reaper), read at one moment.
///
/// Each number is exact by itself; two of them may be a few events apart while threads are at work. At rest
/// `acquired == released + abandoned + taken + live`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Error, Exit, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
/// # let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
/// let scopes = Scopes::new();
/// let scope = scopes.open();
/// drop(scope.lazy(&numbers).get().await.unwrap());
///
/// let stats = scopes.stats();
/// assert_eq!((stats.open_scopes, stats.acquired, stats.live), (1, 1, 1));
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Scopes opened so far.
    pub opened_scopes: u64,
    /// Scopes open now.
    pub open_scopes: u64,
    /// Acquisitions by scopes and shared handles that run now.
    pub acquiring: u64,
    /// Handles acquired so far.
    pub acquired: u64,
    /// Acquisitions that failed, panicked or missed their deadline.
    pub acquire_failed: u64,
    /// Handles that exist now: at home, lent, detached or being released.
    pub live: u64,
    /// Handles that went through `release` or `reclaim`, whatever it answered.
    pub released: u64,
    /// Those of `released` whose release ended with an error or a panic.
    pub release_failed: u64,
    /// Releases that are running now.
    pub pending_releases: u64,
    /// Handles dropped because no release could run to its end.
    pub abandoned: u64,
    /// Handles that left the books through [`Lease::into_handle`](crate::Lease::into_handle).
    pub taken: u64,
    /// Handles that arrived after their scope was closed; they are part of `acquired` and of `released`.
    pub late: u64,
    /// Times that a `get` gave up on a guard that its own request held.
    pub lent_too_long: u64,
    /// Guards that were out when their scope was closed.
    pub still_lent: u64,
    /// Panics that the observer threw and nobody else saw.
    pub observer_panics: u64,
}

/// What a drain saw (law L16).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// # use reqscope::Scopes;
/// # use std::time::Duration;
/// let scopes = Scopes::new();
/// let slow = scopes.open();
///
/// let report = scopes.drain(Duration::from_secs(10)).await;
/// assert!(!report.is_clean());
/// assert_eq!(report.open_scopes, 1); // told, not killed
/// # drop(slow);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Handles released while it waited.
    pub released: u64,
    /// Handles abandoned while it waited.
    pub abandoned: u64,
    /// Scopes that are still open.
    pub open_scopes: u64,
    /// Acquisitions that still run. Those of closed scopes are cancelled; one that is left hangs in a poll.
    pub acquiring: u64,
    /// Handles that still exist: lent, detached or being released.
    pub live: u64,
    /// How long it waited.
    pub waited: Duration,
}

impl DrainReport {
    /// Whether nothing is left, and nothing was abandoned on the way.
    pub fn is_clean(&self) -> bool {
        self.open_scopes == 0 && self.acquiring == 0 && self.live == 0 && self.abandoned == 0
    }
}
