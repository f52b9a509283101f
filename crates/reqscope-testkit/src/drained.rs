use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use reqscope::Scopes;
use reqscope::stats::{DrainReport, Stats};

/// How long a drain may take. Longer than the default timeouts of a close and a release (5 s), so that a release that
/// hangs is abandoned before, and reported as such.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until every scope is closed and every handle is released, and panics at the caller's line if that takes longer
/// than 10 s of tokio's clock, if a handle was abandoned meanwhile, or if work in the background has failed.
///
/// Work in the background is a future of [`on_completed`](reqscope::ScopeHandle::on_completed) or
/// [`Reaper::spawn`](reqscope::Reaper::spawn), and each call of the observer. No caller sees that it panicked or timed
/// out, so this looks at all that has failed since the `Scopes` was built. A test that expects such a failure calls
/// [`Scopes::drain`] and looks at the [`Stats`] itself.
///
/// Call it at the end of a test of handlers, after the responses were read or dropped. The message says what is left:
/// scopes that are open, acquisitions that are running, handles that are live, releases that are running. For the lines
/// that acquired the handles, observe the scopes with a [`Ledger`](crate::Ledger), and call
/// [`Ledger::drained`](crate::Ledger::drained).
///
/// On a paused clock, tokio lets the 10 s pass as soon as no task is ready, even if a thread or a server outside of the
/// runtime is at work. With a real database, use the real clock.
///
/// # Panics
///
/// Panics at the caller's line if something is left after 10 s, a handle was abandoned during the drain, a future in the
/// background has failed, or the observer has panicked.
///
/// # Cancel safety
///
/// If the future is dropped, nothing is lost.
///
/// ```
/// use reqscope::{Exit, Scopes};
/// use reqscope_testkit::{Probe, drained};
/// use std::sync::Arc;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let scopes = Scopes::new();
/// let scope = scopes.open();
/// drop(scope.lazy(&Arc::new(Probe::new())).get().await);
/// drop(scope); // its handle is released in a task
/// drained(&scopes).await;
/// # });
/// ```
#[track_caller]
pub fn drained(scopes: &Scopes) -> impl Future<Output = ()> + Send + use<> {
    let caller = Location::caller();
    let scopes = scopes.clone();
    async move {
        if let Err(left) = drain(&scopes).await {
            panic!("{caller}: {left}");
        }
    }
}

/// Waits like [`drained`], and returns what is left.
pub(crate) async fn drain(scopes: &Scopes) -> Result<(), Left> {
    let report = scopes.drain(PATIENCE).await;
    let stats = scopes.stats();
    let is_clean = report.is_clean() && stats.tasks_failed == 0 && stats.observer_panics == 0;
    if is_clean { Ok(()) } else { Err(Left { report, stats }) }
}

/// What a drain has left, and what was lost before it or during it.
pub(crate) struct Left {
    report: DrainReport,
    stats: Stats,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DrainReport { open_scopes, acquiring, tasks, live, abandoned, waited, .. } = self.report;
        write!(f, "the scopes are not clean after {waited:.1?}:")?;
        let mut line = |number: u64, one: &str, many: &str, cause: &str| match number {
            0 => Ok(()),
            _ => write!(f, "\n  {number} {}: {cause}", if number == 1 { one } else { many }),
        };
        line(
            open_scopes,
            "scope is open",
            "scopes are open",
            "a handler still runs, or a task or the test keeps its request, its response or its scope",
        )?;
        line(
            acquiring,
            "acquisition is running",
            "acquisitions are running",
            "a backend does not answer, or a pool has no free slot",
        )?;
        line(
            tasks,
            "task is running",
            "tasks are running",
            "a future of `on_completed` or `Reaper::spawn` has not ended",
        )?;
        let releasing = self.stats.pending_releases.min(live);
        line(releasing, "release is running", "releases are running", "it hangs, or a guard or lease came late")?;
        line(
            live - releasing,
            "handle is live",
            "handles are live",
            "a guard, a lease or a response body still holds it: drop it, or read the body to its end",
        )?;
        line(
            abandoned,
            "handle was abandoned",
            "handles were abandoned",
            "its release missed its deadline, or its runtime has ended",
        )?;
        line(
            self.stats.tasks_failed,
            "task has failed",
            "tasks have failed",
            "a future of `on_completed` or `Reaper::spawn` panicked, missed its deadline or lost its runtime",
        )?;
        line(
            self.stats.observer_panics,
            "call of the observer has panicked",
            "calls of the observer have panicked",
            "the panic was caught, so an assertion in it fails no test by itself",
        )
    }
}
