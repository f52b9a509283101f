//! Shared by the tests of the janitor: a pool without age limits, and time that passes.

use std::time::Duration;

use reqscope::Pool;
use reqscope::pool::PoolBuilder;
use reqscope_testkit::Probe;

use crate::support::settle;
use crate::watchdog::watch;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// The interval of the janitor's rounds.
pub(super) const ROUND: Duration = Duration::from_millis(100);

/// Starts building a pool without age limits, to which a test adds its own.
pub(super) fn without_limits() -> PoolBuilder<Probe> {
    watch();
    Pool::builder().max_lifetime(None).idle_timeout(None).leak_after(None)
}

/// Advances the clock, with all the rounds of the janitor.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    settle().await;
}

/// Creates so many handles, and leaves them idle.
pub(super) async fn fill(pool: &Pool<Probe>, handles: usize) {
    let mut taken = Vec::new();
    for _ in 0..handles {
        taken.push(pool.get().await.unwrap());
    }
    taken.into_iter().for_each(|handle| pool.put(handle));
}

/// Returns the ids of the idle handles, the longest idle first.
pub(super) fn ids(pool: &Pool<Probe>) -> Vec<u64> {
    let mut ids = Vec::new();
    pool.retain(|handle| {
        ids.push(handle.id());
        true
    });
    ids
}
