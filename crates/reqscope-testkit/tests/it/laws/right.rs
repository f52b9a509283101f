//! Resources that keep the laws: the suite must let them pass.
use reqscope_testkit::{Probe, judge, laws};

laws!(the_probe_keeps_the_laws, |probe| probe);

laws!(a_resource_that_ignores_the_probe_is_counted_outside, |_probe| Probe::new());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_keeps_the_laws_on_many_threads() {
    laws(|probe| probe).await;
}

#[tokio::test(start_paused = true)]
async fn the_report_of_a_right_resource_is_clean() {
    let report = judge(|probe| probe).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.cases() > 10);
}
