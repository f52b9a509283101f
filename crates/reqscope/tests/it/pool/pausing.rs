use std::pin::pin;
use std::time::Duration;

use reqscope::Pool;
use reqscope_testkit::{Probe, Verb, poll_once};
use tokio::time::advance;

use crate::support::settle;
use crate::watchdog::watch;

/// The fault: a handle that was idle before the pause went to the waiter without a validation, as if it had just been
/// returned.
#[tokio::test(start_paused = true)]
async fn handle_idle_throughout_a_pause_is_validated() {
    watch();
    let probe = Probe::new();
    let pool = Pool::builder().max_size(1).validate_after(Duration::from_secs(1)).build(probe.clone());
    for _ in 0..2 {
        pool.put(pool.get().await.unwrap());
    }
    pool.pause();
    let mut waiter = pin!(pool.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    for _ in 0..100 {
        advance(Duration::from_millis(100)).await;
        settle().await;
    }
    pool.resume();
    pool.put(waiter.await.unwrap());
    assert_eq!(probe.on(Verb::Validate).calls(), 1);
}
