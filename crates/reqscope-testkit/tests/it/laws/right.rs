//! Resources that keep the laws, which the suite must let pass.
use std::sync::Arc;
use std::time::Duration;

use reqscope::wrap::RetryPolicy;
use reqscope::{Error, ResourceExt, resource_fn};
use reqscope_testkit::{Probe, laws};
use tokio::sync::{AcquireError, Semaphore};

const LONG: Duration = Duration::from_secs(60);

laws!(probe_keeps_the_laws, |probe| probe);

laws!(resource_without_the_probe_keeps_the_laws, |_probe| Probe::new());

/// An adapter that releases without waiting: no case may rely on a release that takes time.
#[tokio::test(start_paused = true)]
async fn reclaiming_resource_without_the_probe_keeps_the_laws() {
    laws(|_probe| Probe::new().reclaiming()).await;
}

/// It has one handle at a time, as a database has one right to write: no case may hold two.
#[tokio::test(start_paused = true)]
async fn exclusive_resource_keeps_the_laws() {
    laws(|_probe| {
        let one = Arc::new(Semaphore::new(1));
        resource_fn(move || {
            let one = Arc::clone(&one);
            async move { Ok::<_, Error<AcquireError>>(one.acquire_owned().await?) }
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe_keeps_the_laws_on_many_threads() {
    laws(|probe| probe).await;
}

#[tokio::test(start_paused = true)]
async fn report_of_a_right_resource_is_clean() {
    let report = laws(|probe| probe).judge().await;
    assert!(report.is_clean(), "{report}");
    assert!(report.cases() > 10);
}

#[tokio::test(start_paused = true)]
async fn timeout_keeps_the_laws() {
    laws(|probe| probe.timeout(LONG)).await;
}

#[tokio::test(start_paused = true)]
async fn expired_timeout_keeps_the_laws() {
    laws(|probe| probe.timeout(LONG).acquire_within(Duration::from_millis(20))).await;
}

#[tokio::test(start_paused = true)]
async fn retry_keeps_the_laws() {
    laws(|probe| probe.retry(RetryPolicy::new())).await;
}

#[tokio::test(start_paused = true)]
async fn tag_keeps_the_laws() {
    struct Tag;
    laws(|probe| probe.tagged::<Tag>()).await;
}

#[tokio::test(start_paused = true)]
async fn arc_and_box_keep_the_laws() {
    laws(|probe| Arc::new(probe).boxed()).await;
}

#[tokio::test(start_paused = true)]
async fn stack_of_wrappers_keeps_the_laws() {
    laws(|probe| probe.timeout(LONG).retry(RetryPolicy::new()).timeout(LONG).boxed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stack_of_wrappers_keeps_the_laws_on_many_threads() {
    laws(|probe| probe.timeout(LONG).retry(RetryPolicy::new().first_pause(Duration::from_millis(1)))).await;
}
