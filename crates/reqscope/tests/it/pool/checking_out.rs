use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Health, Lease, Pool, Scopes};
use reqscope_testkit::{Probe, Verb, poll_once};

use crate::support::settle;
use crate::watchdog::watch;

fn pool(size: usize, probe: Probe) -> Pool<Probe> {
    watch();
    Pool::builder().max_size(size).build(probe)
}

#[tokio::test(start_paused = true)]
async fn returned_handle_goes_to_the_next_caller() {
    let pool = pool(10, Probe::new());
    let first = pool.get().await.unwrap();
    let number = first.id();
    pool.put(first);
    let second = pool.get().await.unwrap();
    assert_eq!(second.id(), number);
    pool.put(second);
}

#[tokio::test(start_paused = true)]
async fn full_pool_serves_its_waiters_in_order() {
    let pool = Arc::new(pool(1, Probe::new()));
    let held = pool.get().await.unwrap();
    let (mut first, mut second) = (Box::pin(pool.get()), Box::pin(pool.get()));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    pool.put(held);
    assert!(poll_once(second.as_mut()).is_pending());
    pool.put(first.await.unwrap());
    pool.put(second.await.unwrap());
    assert_eq!(pool.status().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn waiter_dropped_after_its_grant_passes_it_on() {
    let pool = pool(1, Probe::new());
    let held = pool.get().await.unwrap();
    let number = held.id();
    let (mut first, mut second) = (Box::pin(pool.get()), Box::pin(pool.get()));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    pool.put(held);
    drop(first);
    let passed_on = second.await.unwrap();
    assert_eq!(passed_on.id(), number, "the same handle");
    pool.put(passed_on);
}

#[tokio::test(start_paused = true)]
async fn dropped_handle_is_validated_before_its_next_use() {
    let probe = Probe::new();
    let pool = pool(1, probe.clone());
    probe.on(Verb::Validate).slow(1);
    drop(pool.get().await.unwrap());
    assert_eq!((pool.status().idle, pool.status().in_use), (1, 0));
    let mut next = Box::pin(pool.get());
    assert!(poll_once(next.as_mut()).is_pending());
    pool.put(next.await.unwrap());
    assert_eq!((probe.counts().acquired, probe.counts().validated), (1, 1));
}

/// Of a resource that does not look at its handles.
#[tokio::test(start_paused = true)]
async fn handle_of_unknown_health_is_validated_by_its_next_check_out() {
    let probe = Probe::new();
    let pool = pool(1, probe.clone());
    let handle = pool.get().await.unwrap();
    probe.set_health(Health::Unknown);
    pool.put(handle);
    assert_eq!((pool.status().idle, probe.counts().validated), (1, 0));
    let handle = pool.get().await.unwrap();
    assert_eq!(probe.counts().validated, 1);
    pool.put(handle);
}

#[tokio::test(start_paused = true)]
async fn drop_leaves_all_of_the_validation_to_a_task() {
    let probe = Probe::new();
    let pool = pool(1, probe.clone());
    let handle = pool.get().await.unwrap();
    probe.set_health(Health::Dirty);
    drop(handle);
    assert_eq!((pool.status().idle, pool.status().in_use), (0, 1));
    settle().await;
    assert_eq!((pool.status().idle, pool.status().in_use), (1, 0));
    assert_eq!(probe.counts().validated, 1);
}

#[tokio::test(start_paused = true)]
async fn acquire_timeout_carries_a_shortage() {
    let pool = Pool::builder().max_size(1).acquire_timeout(Duration::from_secs(5)).build(Probe::new());
    let held = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let shortage = error.shortage().unwrap();
    assert_eq!((shortage.max_size, shortage.in_use), (1, 1));
    pool.put(held);
}

#[tokio::test(start_paused = true)]
async fn scope_checks_out_one_handle_for_all_its_gets() {
    let (scopes, pool) = (Scopes::new(), Arc::new(pool(1, Probe::new())));
    let scope = scopes.open();
    drop(scope.lazy(&pool).get().await.unwrap());
    drop(scope.lazy(&pool).get().await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    let lease = Lease::acquire(&pool).await.unwrap();
    Lease::complete(lease).await.unwrap();
    assert!(pool.close(Duration::from_secs(1)).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn caller_with_a_creation_does_not_count_as_waiter() {
    let pool = Pool::builder().max_size(1).max_waiters(0).build(Probe::new());
    let handle = pool.get().await.unwrap();
    assert!(pool.get().await.unwrap_err().is_exhausted());
    pool.put(handle);
}

/// The handle may have left a transaction open, which would hold its locks for as long as the handle is idle.
#[tokio::test(start_paused = true)]
async fn dirty_handle_is_validated_on_its_return() {
    let probe = Probe::new();
    let pool = pool(1, probe.clone());
    let handle = pool.get().await.unwrap();
    probe.set_health(Health::Dirty);
    probe.on(Verb::Validate).slow(1);
    pool.put(handle);
    probe.set_health(Health::Ready);
    assert_eq!((pool.status().idle, pool.status().in_use), (0, 1));
    let again = pool.get().await.unwrap();
    // It is fresh, so the check-out does not validate it again.
    assert_eq!((probe.counts().acquired, probe.counts().validated), (1, 1));
    pool.put(again);
}
