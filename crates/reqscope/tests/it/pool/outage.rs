//! A dead backend is cheap (L18): callers fail fast with the cause, and the pool rarely tries to connect.

use std::time::Duration;

use reqscope::pool::Reset;
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::time::{Instant, sleep};

use super::rig::Rig;
use crate::support::{bounded, settle};

const CALLERS: usize = 64;

/// Lets all callers ask at the same time, and asserts that they fail with the cause before any time passes.
async fn all_fail_at_once(rig: &Rig) {
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(rig.pool.get())).collect();
    for caller in callers {
        let error = bounded(caller).await.unwrap().unwrap_err();
        assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn callers_fail_at_once_if_the_backend_starts_down() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(10).create_concurrency(3));
    rig.probe.on(Verb::Acquire).always(Outcome::error().after_polls(1));
    all_fail_at_once(&rig).await;
    // Three rounds of three.
    assert!(rig.probe.counts().acquires <= 9, "{:?}", rig.probe.counts());
    assert!(rig.pool.status().down);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn outage_costs_at_most_one_connect_per_probe_interval() {
    let rig = Rig::new(10);
    rig.fill(10).await;
    rig.probe.kill_all();
    rig.probe.on(Verb::Acquire).always(Outcome::error());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        all_fail_at_once(&rig).await;
        sleep(Duration::from_millis(10)).await;
    }
    let connects = rig.probe.counts().acquires - 10;
    // Probes are 15 to 25 ms apart.
    assert!((100..=10_000 / 15 + 4).contains(&connects), "{connects}");

    rig.probe.on(Verb::Acquire).always(Outcome::ok());
    let back = Instant::now();
    while rig.pool.get().await.map(|handle| rig.pool.put(handle)).is_err() {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(back.elapsed() <= Duration::from_millis(30), "{:?}", back.elapsed());
    rig.finish(0).await;
}

/// One handle is lent, so the other callers wait for it instead of failing.
#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order_after_an_outage() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(10).create_concurrency(3));
    rig.fill(1).await;
    let held = rig.take().await;
    for _ in 0..9 {
        rig.probe.on(Verb::Acquire).error();
    }
    rig.probe.on(Verb::Acquire).close();
    let waiters: Vec<_> = (0..9).map(|_| tokio::spawn(rig.waiter())).collect();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.counts(), [1, 0, 1, 0, 9], "one creation probes the backend");
    for served in 0..9 {
        rig.probe.on(Verb::Acquire).ok();
        settle().await;
        let left = 8 - served;
        assert_eq!(rig.counts(), [2 + served, 0, left.min(4 + served), 0, left], "after {served}");
    }
    let mut all = vec![held];
    for waiter in waiters {
        all.push(bounded(waiter).await.unwrap().unwrap());
    }
    assert!(all.iter().map(|handle| handle.id()).is_sorted(), "{all:?}");
    rig.put_all(all);
    rig.finish(0).await;
}

/// No handle is returned, and no other caller asks.
#[tokio::test(start_paused = true)]
async fn waiter_is_served_soon_after_an_outage_without_new_gets() {
    let rig = Rig::new(2);
    rig.fill(1).await;
    let held = rig.take().await;
    rig.probe.on(Verb::Acquire).error();
    let (began, waiter) = (Instant::now(), tokio::spawn(rig.waiter()));
    let handle = bounded(waiter).await.unwrap().unwrap();
    assert!(began.elapsed() <= Duration::from_millis(200), "{:?}", began.elapsed());
    rig.pool.put(held);
    rig.pool.put(handle);
    rig.finish(0).await;
}

/// No handle is left that the waiter could get.
#[tokio::test(start_paused = true)]
async fn waiter_fails_when_the_last_handle_dies_in_an_outage() {
    let rig = Rig::new(2);
    let mut held = rig.take().await;
    rig.probe.on(Verb::Acquire).always(Outcome::error());
    let waiter = rig.waiter();
    held.kill();
    rig.pool.put(held);
    let began = Instant::now();
    let error = bounded(waiter).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(began.elapsed() <= Duration::from_millis(200), "{:?}", began.elapsed());
    rig.finish(0).await;
}

/// The fault: while a dead handle was released, callers waited for its slot, in which nothing could be created.
#[tokio::test(start_paused = true)]
async fn caller_does_not_wait_for_a_release_in_an_outage() {
    let rig = Rig::new(2);
    let mut held = rig.take().await;
    rig.probe.on(Verb::Acquire).always(Outcome::permanent());
    rig.probe.on(Verb::Release).never();
    held.kill();
    rig.pool.put(held);
    all_fail_at_once(&rig).await;
    assert_eq!(rig.counts(), [0, 0, 0, 1, 0]);
    rig.finish(1).await;
}

#[tokio::test(start_paused = true)]
async fn caller_waits_for_a_validated_handle_in_an_outage() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(2).reset(Reset::Always));
    rig.probe.on(Verb::Validate).close();
    drop(rig.take().await);
    settle().await;
    rig.probe.on(Verb::Acquire).always(Outcome::permanent());
    let waiter = rig.waiter();
    assert!(rig.pool.status().down);
    rig.probe.on(Verb::Validate).ok();
    rig.pool.put(bounded(waiter).await.unwrap());
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn caller_waits_for_a_creation_older_than_the_outage() {
    let rig = Rig::new(2);
    rig.probe.on(Verb::Acquire).close();
    let first = rig.waiter();
    rig.probe.on(Verb::Acquire).always(Outcome::permanent());
    let second = rig.waiter();
    assert!(rig.pool.status().down);
    rig.probe.on(Verb::Acquire).ok();
    rig.pool.put(bounded(first).await.unwrap());
    rig.pool.put(bounded(second).await.unwrap());
    rig.finish(0).await;
}

/// However short the timeout is: a refused connect is the quick answer of a host, and silence is none.
#[tokio::test(start_paused = true)]
async fn one_timeout_of_a_creation_reports_the_backend_down() {
    let rig = Rig::configured(Probe::new(), |builder| builder.create_timeout(Duration::from_millis(100)));
    rig.probe.on(Verb::Acquire).never();
    let get = rig.waiter();
    sleep(Duration::from_millis(100)).await;
    settle().await;
    assert!(rig.pool.status().down, "{:?}", rig.pool);
    drop(get);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn hanging_backend_gets_one_probe_at_a_time() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(10).create_timeout(Duration::from_secs(1)));
    rig.probe.on(Verb::Acquire).always(Outcome::never());
    let first: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(rig.pool.get())).collect();
    for caller in first {
        assert!(bounded(caller).await.unwrap().unwrap_err().is_timeout());
    }
    let before = rig.probe.counts().acquires;
    assert!(before <= 4, "the first creations: {before}");
    for _ in 0..1000 {
        let mut get = Box::pin(rig.pool.get());
        drop(poll_once(get.as_mut()));
        assert!(rig.pool.status().creating <= 1);
        sleep(Duration::from_millis(10)).await;
    }
    // Each probe takes a second, and a pause follows.
    assert!(rig.probe.counts().acquires - before <= 10, "{:?}", rig.probe.counts());
    rig.finish(0).await;
}
