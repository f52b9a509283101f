//! A creation that fails, hangs, panics or makes an unusable handle costs no slot.

use std::time::Duration;

use reqscope::Health;
use reqscope::error::Stage;
use reqscope_testkit::{Outcome, Probe, Verb};
use tokio::time::{Instant, sleep};

use super::rig::Rig;
use crate::support::{bounded, settle};

#[tokio::test(start_paused = true)]
async fn failed_creation_returns_its_cause_and_frees_its_slot() {
    let rig = Rig::new(2);
    for round in 0..5 {
        // The first three open the breaker. Later, each probe fails by itself.
        for _ in 0..if round == 0 { 3 } else { 1 } {
            rig.probe.on(Verb::Acquire).error();
        }
        let error = bounded(rig.pool.get()).await.unwrap_err();
        assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
        assert_eq!(rig.counts(), [0; 5]);
        sleep(Duration::from_millis(25)).await;
    }
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn panicking_creation_counts_as_failed() {
    let rig = Rig::new(2);
    for polls in 0..5 {
        for _ in 0..if polls == 0 { 3 } else { 1 } {
            rig.probe.on(Verb::Acquire).next(Outcome::panic().after_polls(polls));
        }
        let error = bounded(rig.pool.get()).await.unwrap_err();
        assert!(error.is_panicked(), "{error}");
        assert_eq!(rig.counts(), [0; 5]);
        sleep(Duration::from_millis(25)).await;
    }
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn hanging_creation_ends_after_its_timeout() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(2).create_timeout(Duration::from_secs(3)));
    for _ in 0..3 {
        rig.probe.on(Verb::Acquire).never();
        let began = Instant::now();
        let error = bounded(rig.pool.get()).await.unwrap_err();
        assert!(error.is_timeout() && error.stage() == Some(Stage::Acquiring), "{error}");
        assert_eq!(began.elapsed().as_secs(), 3);
        assert_eq!(rig.counts(), [0; 5]);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(rig.probe.counts().acquires_cut, 3);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn creation_serves_the_next_caller_after_its_own_left() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Acquire).close();
    let (first, second) = (rig.waiter(), rig.waiter());
    settle().await;
    drop(first);
    rig.probe.on(Verb::Acquire).ok();
    rig.pool.put(bounded(second).await.unwrap());
    assert_eq!(rig.probe.counts().acquires, 1);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn created_handle_is_kept_after_all_callers_left() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Acquire).close();
    drop(rig.waiter());
    settle().await;
    assert_eq!(rig.counts(), [0, 0, 1, 0, 0]);
    rig.probe.on(Verb::Acquire).ok();
    settle().await;
    assert_eq!(rig.counts(), [0, 1, 0, 0, 0]);
    rig.finish(0).await;
}

/// Happens behind a load balancer without backends: it accepts each connection, and closes it at once.
#[tokio::test(start_paused = true)]
async fn handle_dead_on_arrival_counts_as_a_failed_creation() {
    for probe in [Probe::new(), Probe::new().reclaiming()] {
        let rig = Rig::configured(probe, |builder| builder.max_size(2));
        rig.probe.set_health(Health::Dead);
        let began = Instant::now();
        for _ in 0..100 {
            let error = bounded(rig.pool.get()).await.unwrap_err();
            assert!(error.is_unavailable(), "{error}");
            sleep(Duration::from_millis(1)).await;
        }
        // Three open the breaker.
        let most = began.elapsed().as_millis() / 15 + 3;
        assert!(u128::from(rig.probe.counts().acquires) <= most, "{:?}", rig.probe.counts());
        rig.probe.set_health(Health::Ready);
        rig.finish(0).await;
    }
}

/// The fault: the release counted as a part of the creation, so a waiter gave the slot up before it had ended.
#[tokio::test(start_paused = true)]
async fn slot_of_a_dead_arrival_is_held_until_its_release_ends() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).create_timeout(Duration::from_secs(1)));
    rig.probe.set_health(Health::Dead);
    rig.probe.on(Verb::Release).next(Outcome::ok().after(Duration::from_secs(3)));
    let waiter = tokio::spawn(rig.waiter());
    sleep(Duration::from_secs(2)).await;
    assert_eq!((rig.counts(), rig.probe.counts().acquires), ([0, 0, 0, 1, 1], 1));
    rig.probe.set_health(Health::Ready);
    rig.pool.put(bounded(waiter).await.unwrap().unwrap());
    assert_eq!(rig.probe.counts().acquires, 2);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn creation_begun_before_a_clear_serves_one_caller() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Acquire).close();
    let mut caller = rig.waiter();
    settle().await;
    rig.pool.clear();
    rig.probe.on(Verb::Acquire).always(Outcome::ok());
    let handle = bounded(caller.as_mut()).await.unwrap();
    assert_eq!(handle.id(), 0, "its caller has waited for it");
    rig.pool.put(handle);
    let handle = rig.take().await;
    assert_eq!(handle.id(), 1, "the first handle may be connected to the old server");
    rig.pool.put(handle);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn grant_passed_on_after_a_clear_is_not_kept() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let (first, second) = (rig.waiter(), rig.waiter());
    rig.pool.put(held);
    rig.pool.clear();
    drop(first);
    let handle = bounded(second).await.unwrap();
    assert_eq!(handle.id(), 1);
    rig.pool.put(handle);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn max_waiters_of_zero_still_allows_a_creation() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(2).max_waiters(0));
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(2));
    let both = rig.take_all(2).await;
    assert!(bounded(rig.pool.get()).await.unwrap_err().is_exhausted());
    rig.put_all(both);
    rig.closes_clean(0).await;
}
