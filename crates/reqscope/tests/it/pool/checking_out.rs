use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Health, Lease, Pool, Scopes};
use reqscope_testkit::{Probe, Verb, poll_once};

use crate::watchdog::watch;

fn pool(size: usize, probe: Probe) -> Pool<Probe> {
    watch();
    Pool::builder().max_size(size).build(probe)
}

#[tokio::test]
async fn what_is_given_back_is_what_the_next_one_gets() {
    let pool = pool(10, Probe::new());
    let first = pool.get().await.unwrap();
    let number = first.id();
    pool.put(first);
    let second = pool.get().await.unwrap();
    assert_eq!(second.id(), number);
    pool.put(second);
}

#[tokio::test]
async fn a_full_pool_serves_its_waiters_first_come_first_served() {
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

#[tokio::test]
async fn a_waiter_that_leaves_after_its_grant_passes_it_on() {
    let pool = pool(1, Probe::new());
    let held = pool.get().await.unwrap();
    let number = held.id();
    let (mut first, mut second) = (Box::pin(pool.get()), Box::pin(pool.get()));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    pool.put(held);
    drop(first);
    let passed_on = second.await.unwrap();
    assert_eq!(passed_on.id(), number, "the very object");
    pool.put(passed_on);
}

#[tokio::test]
async fn what_is_dropped_without_a_word_is_proved_before_anybody_gets_it() {
    let probe = Probe::new();
    let pool = pool(1, probe.clone());
    probe.on(Verb::Validate).slow(1);
    drop(pool.get().await.unwrap());
    assert_eq!((pool.status().idle, pool.status().in_use), (0, 1));
    let mut next = Box::pin(pool.get());
    assert!(poll_once(next.as_mut()).is_pending());
    pool.put(next.await.unwrap());
    assert_eq!((probe.counts().acquired, probe.counts().validated), (1, 1));
}

#[tokio::test]
async fn a_proof_that_needs_no_waiting_is_over_at_once() {
    let probe = Probe::new();
    let pool = pool(1, probe.clone());
    drop(pool.get().await.unwrap());
    assert_eq!((pool.status().idle, pool.status().in_use), (1, 0));
    assert_eq!(probe.counts().validated, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_is_told_why() {
    let pool = Pool::builder().max_size(1).acquire_timeout(Duration::from_secs(5)).build(Probe::new());
    let held = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let shortage = error.shortage().unwrap();
    assert_eq!((shortage.max_size, shortage.in_use), (1, 1));
    pool.put(held);
}

#[tokio::test]
async fn a_scope_holds_one_object_for_all_who_ask() {
    let (scopes, pool) = (Scopes::new(), Arc::new(pool(1, Probe::new())));
    let scope = scopes.open();
    drop(scope.lazy(&pool).get().await.unwrap());
    drop(scope.lazy(&pool).get().await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    let lease = Lease::acquire(&pool).await.unwrap();
    Lease::complete(lease).await.unwrap();
    assert!(pool.close(Duration::from_secs(1)).await.is_clean());
}

#[tokio::test]
async fn those_for_whom_an_object_is_made_do_not_count_as_waiters() {
    let pool = Pool::builder().max_size(1).max_waiters(0).build(Probe::new());
    let object = pool.get().await.unwrap();
    assert!(pool.get().await.unwrap_err().is_exhausted());
    pool.put(object);
}

/// A transaction left open would hold its locks for as long as nobody takes the object.
#[tokio::test(start_paused = true)]
async fn what_does_not_look_ready_when_it_comes_back_is_proved_before_it_is_idle() {
    let probe = Probe::new();
    let pool = pool(1, probe.clone());
    let object = pool.get().await.unwrap();
    probe.set_health(Health::Unknown);
    probe.on(Verb::Validate).slow(1);
    pool.put(object);
    assert_eq!((pool.status().idle, pool.status().in_use), (0, 1));
    let again = pool.get().await.unwrap();
    // Nobody proves it again on its way out: it is fresh.
    assert_eq!((probe.counts().acquired, probe.counts().validated), (1, 1));
    pool.put(again);
}
