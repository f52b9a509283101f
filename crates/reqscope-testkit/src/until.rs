use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often the condition is checked between yields before the clock is used.
const YIELDS: usize = 32;

/// Waits until `condition` holds, and panics at the caller's line if that takes longer than `bound`.
///
/// It first yields to the runtime a few times, which is enough for tasks that are ready and on a paused clock. Then it
/// checks each millisecond of tokio's clock. A paused clock advances by that millisecond when no task is ready, so the
/// test's time passes: choose a `bound` below the deadlines that must not expire.
///
/// # Panics
///
/// Panics at the caller's line if `condition` does not hold within `bound`, and outside of a tokio runtime with a
/// clock.
///
/// # Cancel safety
///
/// If the future is dropped, nothing is lost.
///
/// ```
/// use reqscope_testkit::until;
/// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
/// use std::{sync::Arc, time::Duration};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let done = Arc::new(AtomicBool::new(false));
/// tokio::spawn({
///     let done = done.clone();
///     async move { done.store(true, Relaxed) }
/// });
/// until(Duration::from_secs(5), || done.load(Relaxed)).await;
/// # });
/// ```
#[track_caller]
pub fn until(bound: Duration, condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        if !holds_within(bound, condition).await {
            panic!("{caller}: the condition did not hold within {bound:?}");
        }
    }
}

/// Waits like [`until`], and returns whether the condition held.
pub(crate) async fn holds_within(bound: Duration, mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..YIELDS {
        if condition() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    while !condition() {
        if began.elapsed() >= bound {
            return false;
        }
        sleep(Duration::from_millis(1)).await;
    }
    true
}
