//! What the tests of the janitor share: a pool in which nothing grows old, and time that passes.

use std::time::Duration;

use reqscope::Pool;
use reqscope::pool::PoolBuilder;
use reqscope_testkit::Probe;

use crate::support::settle;
use crate::watchdog::watch;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// The janitor makes one in this time.
pub(super) const ROUND: Duration = Duration::from_millis(100);

/// Nothing grows old in it, unless a test wants that.
pub(super) fn ageless() -> PoolBuilder<Probe> {
    watch();
    Pool::builder().max_lifetime(None).idle_timeout(None).leak_after(None)
}

/// Lets it pass, with all the rounds of the janitor.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    settle().await;
}

/// Makes so many, and leaves them idle.
pub(super) async fn fill(pool: &Pool<Probe>, objects: usize) {
    let mut taken = Vec::new();
    for _ in 0..objects {
        taken.push(pool.get().await.unwrap());
    }
    taken.into_iter().for_each(|object| pool.put(object));
}

pub(super) fn ids(pool: &Pool<Probe>) -> Vec<u64> {
    let mut ids = Vec::new();
    pool.retain(|handle| {
        ids.push(handle.id());
        true
    });
    ids
}
