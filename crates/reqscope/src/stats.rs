//! The counters of handles and scopes, and the report of a drain.

use std::time::Duration;

/// Counters and gauges of a [`Scopes`](crate::Scopes) or a [`Reaper`](crate::Reaper) at one moment.
///
/// Each number is exact by itself; two of them may be a few events apart while other threads are active. Always
/// `acquired == released + abandoned + taken + live`, and `live` includes `pending_releases`.
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
    /// The number of scopes opened so far.
    pub opened_scopes: u64,
    /// The number of scopes that are open now.
    pub open_scopes: u64,
    /// The number of acquisitions by scopes and shared handles that are running now.
    pub acquiring: u64,
    /// The number of handles acquired so far. A resource that acquires a handle of another one counts twice, such as a
    /// transaction over a pool.
    pub acquired: u64,
    /// The number of acquisitions that failed, panicked or missed their deadline.
    pub acquire_failed: u64,
    /// The number of handles that exist now: idle, lent, detached or being released.
    pub live: u64,
    /// The number of handles that were passed to `release` or `reclaim`, whatever the result.
    pub released: u64,
    /// The number of handles in `released` whose release ended with an error or a panic.
    pub release_failed: u64,
    /// The number of releases that are running now.
    pub pending_releases: u64,
    /// The number of handles that were dropped because their release could not run to its end.
    pub abandoned: u64,
    /// The number of handles that are no longer counted, because they were taken out with
    /// [`Lease::into_handle`](crate::Lease::into_handle).
    pub taken: u64,
    /// The number of handles that arrived after their scope was closed; `acquired` and `released` include them.
    pub late: u64,
    /// The number of times that a `get` timed out while another task of its request held the guard.
    pub lent_too_long: u64,
    /// The number of guards that were still held when their scope was closed.
    pub still_lent: u64,
    /// The number of tasks of [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed) and
    /// [`Reaper::spawn`](crate::Reaper::spawn) that are running now, or will run once their scope has ended.
    pub tasks: u64,
    /// The number of futures of [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed) and
    /// [`Reaper::spawn`](crate::Reaper::spawn) that panicked, missed their deadline or lost their runtime.
    pub tasks_failed: u64,
    /// The number of panics in the observer, each of which was caught.
    pub observer_panics: u64,
}

/// What was released during a drain, and what was left at its end (law L16).
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
/// assert_eq!(report.open_scopes, 1); // reported, not cancelled
/// # drop(slow);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// The number of handles released during the drain, without those released before it began.
    pub released: u64,
    /// The number of handles abandoned during the drain.
    pub abandoned: u64,
    /// The number of scopes that are still open.
    pub open_scopes: u64,
    /// The number of acquisitions that are still running. The acquisitions of closed scopes are cancelled, so one that
    /// is left is stuck in a poll.
    pub acquiring: u64,
    /// The number of tasks of [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed) and
    /// [`Reaper::spawn`](crate::Reaper::spawn) that are still running.
    pub tasks: u64,
    /// The number of handles that still exist: lent, detached or being released.
    pub live: u64,
    /// How long the drain took.
    pub waited: Duration,
}

impl DrainReport {
    /// Returns whether nothing is left and nothing was abandoned during the drain.
    pub fn is_clean(&self) -> bool {
        let left = self.open_scopes + self.acquiring + self.tasks + self.live;
        left == 0 && self.abandoned == 0
    }
}
