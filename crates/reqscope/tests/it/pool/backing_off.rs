//! How often a pool tries to connect to a backend that is down (L18).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqscope::{Error, Pool, resource_fn};

use crate::watchdog::watch;

/// Calls `get` every 10 ms for five seconds, while each creation fails at once. Returns the number of creations.
async fn creations(failure: fn(io::Error) -> Error<io::Error>) -> u32 {
    watch();
    let creations = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&creations);
    let pool = Pool::new(resource_fn(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async move { Err::<(), _>(failure(io::Error::other("no"))) }
    }));
    for _ in 0..500 {
        assert!(pool.get().await.unwrap_err().is_unavailable());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    creations.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn refusing_backend_is_tried_again_soon() {
    let creations = creations(Error::failed).await;
    // One creation for every two or three gets.
    assert!((500 / 3 - 1..=500 / 2 + 1).contains(&creations), "{creations}");
}

#[tokio::test(start_paused = true)]
async fn permanently_failing_backend_is_not_hammered() {
    // Half a second apart on average, once the backoff has reached its longest pause.
    let creations = creations(Error::permanent).await;
    assert!((5..50).contains(&creations), "{creations}");
}

#[tokio::test(start_paused = true)]
async fn only_callers_that_waited_get_a_timeout_error() {
    watch();
    let never = resource_fn(std::future::pending::<Result<(), Error<io::Error>>>);
    let pool = Pool::builder().create_timeout(Duration::from_millis(300)).build(never);
    let waited = pool.get().await.unwrap_err();
    assert!(waited.is_timeout(), "{waited}");
    let mut refused = 0;
    for _ in 0..3 {
        let before = tokio::time::Instant::now();
        let error = pool.get().await.unwrap_err();
        if before.elapsed().is_zero() {
            refused += 1;
            assert!(error.is_unavailable() && error.elapsed().is_none(), "{error}");
            assert!(error.shortage().unwrap().last_failure.is_some());
        }
    }
    assert!(refused > 0);
}
