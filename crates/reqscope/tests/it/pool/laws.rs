//! The test kit's suite of laws, on pools over a probe.

use std::time::Duration;

use reqscope::Pool;
use reqscope::pool::Reset;
use reqscope_testkit::{Probe, laws};

use crate::watchdog::watch;

/// A hanging creation may keep callers waiting for this long; the suite waits for 5 s.
const CREATE_TIMEOUT: Duration = Duration::from_secs(1);

fn pool(probe: Probe, size: usize, reset: Reset) -> Pool<Probe> {
    watch();
    Pool::builder().max_size(size).create_timeout(CREATE_TIMEOUT).reset(reset).build(probe)
}

#[tokio::test(start_paused = true)]
async fn pool_keeps_the_laws() {
    laws(|probe| pool(probe, 3, Reset::AfterDoubt)).await;
}

#[tokio::test(start_paused = true)]
async fn pool_of_one_keeps_the_laws() {
    laws(|probe| pool(probe, 1, Reset::AfterDoubt)).await;
}

#[tokio::test(start_paused = true)]
async fn pool_that_always_validates_keeps_the_laws() {
    laws(|probe| {
        watch();
        let builder = Pool::builder().max_size(2).create_timeout(CREATE_TIMEOUT);
        builder.validate_after(Duration::ZERO).reset(Reset::Always).build(probe)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_keeps_the_laws_on_many_threads() {
    laws(|probe| pool(probe, 3, Reset::AfterDoubt)).await;
}
