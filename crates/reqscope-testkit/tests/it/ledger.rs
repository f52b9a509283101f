use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Lease, Reaper, Scopes};
use reqscope_testkit::{Ledger, Probe, Verb, expect_panic};

#[test]
fn balanced_ledger_does_not_panic() {
    let ledger = Ledger::new();
    let (kept, lost) = (ledger.acquired(), ledger.acquired());
    assert_eq!(ledger.open(), 2);
    kept.released();
    lost.abandoned();
    assert_eq!(ledger.open(), 0);
    let balance = ledger.balance();
    assert_eq!((balance.acquired, balance.released, balance.abandoned), (2, 1, 1));
}

#[test]
fn drop_names_the_line_of_a_missing_acquisition() {
    let ledger = Ledger::new();
    ledger.acquired().released();
    let (lost, line) = (ledger.acquired(), line!());
    drop(lost);
    let message = expect_panic(|| drop(ledger));
    assert!(message.contains(&format!("ledger.rs:{line}:")), "{message}");
    assert!(message.contains("1 acquired, 0 released, 0 abandoned"), "{message}");
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn panic_under_way_is_not_doubled() {
    let message = expect_panic(|| {
        let ledger = Ledger::new();
        let _lost = ledger.acquired();
        panic!("the test itself");
    });
    assert_eq!(message, "the test itself");
}

#[tokio::test(start_paused = true)]
async fn observer_counts_failed_and_abandoned_releases() {
    let ledger = Ledger::new();
    let scopes = Scopes::builder().observer(ledger.observer()).build();
    let probe = Probe::new();
    probe.on(Verb::Release).error().never().ok();
    let resource = Arc::new(probe);
    for _ in 0..3 {
        let scope = scopes.open();
        drop(scope.lazy(&resource).get().await.unwrap());
        assert_eq!(ledger.open(), 1);
        scope.close(Exit::Completed).await.unwrap();
        scopes.drain(Duration::from_secs(60)).await;
        assert_eq!(ledger.open(), 0);
    }
    let balance = ledger.balance();
    assert_eq!((balance.acquired, balance.released, balance.abandoned), (3, 2, 1));
}

#[tokio::test]
async fn observer_names_the_line_of_a_lost_guard() {
    let ledger = Ledger::new();
    let scopes = Scopes::builder().observer(ledger.observer()).build();
    let scope = scopes.open();
    let lazy = scope.lazy(&Arc::new(Probe::new()));
    let (get, line) = (lazy.get(), line!());
    std::mem::forget(get.await.unwrap());
    drop(scope);
    let message = expect_panic(|| drop(ledger));
    assert!(message.contains(&format!("ledger.rs:{line}:")), "{message}");
}

#[tokio::test]
async fn handle_taken_out_of_its_lease_counts_as_taken() {
    let ledger = Ledger::new();
    let reaper = Reaper::builder().observer(ledger.observer()).build();
    let lease = Lease::acquire_in(&reaper, &Arc::new(Probe::new())).await.unwrap();
    drop(Lease::into_handle(lease));
    assert_eq!((ledger.open(), ledger.balance().taken), (0, 1));
}
