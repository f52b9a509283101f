//! What a pool offers beyond `get` and `put`: clones, timeouts for one call, handles that leave the pool, and their age.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use reqscope::{Exit, Lease, Pool, Pooled, Resource, Scopes};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::time::{Instant, advance, sleep};

use super::aging::{ROUND, SECOND, fill, ids, pass, without_limits};
use super::rig::Rig;
use crate::support::{bounded, settle};

// Clone

#[tokio::test(start_paused = true)]
async fn clones_of_a_pool_lend_the_same_handles() {
    let pool = without_limits().max_size(1).build(Probe::new());
    let clone = pool.clone();
    let handle = pool.get().await.unwrap();
    assert!(clone.try_get().is_none());
    clone.put(handle);
    assert_eq!((pool.status().idle, clone.status().idle), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn pool_stays_open_until_its_last_clone_is_dropped() {
    let probe = Probe::new();
    let pool = without_limits().build(probe.clone());
    let clone = pool.clone();
    fill(&pool, 2).await;
    drop(pool);
    settle().await;
    assert!(!clone.is_closed());
    assert_eq!((clone.status().idle, probe.counts().released), (2, 0));
    drop(clone);
    settle().await;
    assert_eq!((probe.counts().released, probe.counts().live()), (2, 0));
}

/// A handle that is checked out, a waiter's future and the tasks of the pool are no clones.
#[tokio::test(start_paused = true)]
async fn handle_that_is_checked_out_keeps_no_pool_open() {
    let probe = Probe::new();
    let pool = without_limits().max_size(1).min_idle(1).keepalive(SECOND).build(probe.clone());
    let handle = pool.get().await.unwrap();
    pass(SECOND).await;
    drop(pool.clone());
    drop(pool);
    drop(handle);
    settle().await;
    assert_eq!((probe.counts().released, probe.counts().live()), (1, 0));
}

/// Two parts of a program, each with an `Arc` of its own, that know nothing of each other.
#[tokio::test(start_paused = true)]
async fn clones_in_their_own_arcs_share_the_handle_of_a_request() {
    let pool = without_limits().max_size(2).build(Probe::new());
    let (first, second) = (Arc::new(pool.clone()), Arc::new(pool.clone()));
    let scope = Scopes::new().open();
    let id = scope.lazy(&first).get().await.unwrap().id();
    assert_eq!(scope.lazy(&second).get().await.unwrap().id(), id);
    assert_eq!(pool.status().in_use, 1);
    bounded(scope.close(Exit::Completed)).await.unwrap();
    assert_eq!((pool.status().idle, pool.status().uses), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn different_pools_of_one_resource_share_no_handle() {
    let probe = Probe::new();
    let (first, second) = (without_limits().build(probe.clone()), without_limits().build(probe.clone()));
    let (first, second) = (Arc::new(first), Arc::new(second));
    let scope = Scopes::new().open();
    let id = scope.lazy(&first).get().await.unwrap().id();
    assert_ne!(scope.lazy(&second).get().await.unwrap().id(), id);
    bounded(scope.close(Exit::Completed)).await.unwrap();
}

/// A pool as the resource of another clone's task.
#[tokio::test(start_paused = true)]
async fn close_of_one_clone_closes_all() {
    let pool = without_limits().build(Probe::new());
    let clone = pool.clone();
    assert!(bounded(clone.close(SECOND)).await.is_clean());
    assert!(pool.is_closed() && bounded(pool.get()).await.unwrap_err().is_closed());
}

// A timeout for one call

#[tokio::test(start_paused = true)]
async fn timeout_of_one_call_replaces_that_of_the_pool() {
    for timeout in [SECOND, 60 * SECOND] {
        let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).acquire_timeout(10 * SECOND));
        let held = rig.take().await;
        let began = Instant::now();
        let error = bounded(rig.pool.get_timeout(timeout)).await.unwrap_err();
        assert!(error.is_timeout() && error.shortage().is_some(), "{error}");
        let waited = began.elapsed();
        assert!((timeout..=timeout + Duration::from_millis(2)).contains(&waited), "{waited:?}");
        assert_eq!((rig.counts(), rig.pool.status().timeouts), ([1, 0, 0, 0, 0], 1));
        rig.pool.put(held);
        rig.finish(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn call_without_a_timeout_keeps_that_of_the_pool() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).acquire_timeout(10 * SECOND));
    let held = rig.take().await;
    let began = Instant::now();
    let (short, long) = (rig.pool.get_timeout(SECOND), rig.waiter());
    assert!(bounded(short).await.unwrap_err().is_timeout());
    assert!(bounded(long).await.unwrap_err().is_timeout());
    assert_eq!(began.elapsed().as_secs(), 10);
    rig.pool.put(held);
    rig.finish(0).await;
}

/// No time to wait, but an idle handle needs none.
#[tokio::test(start_paused = true)]
async fn call_with_a_timeout_of_zero_takes_an_idle_handle() {
    let rig = Rig::new(1);
    rig.fill(1).await;
    let handle = bounded(rig.pool.get_timeout(Duration::ZERO)).await.unwrap();
    assert!(bounded(rig.pool.get_timeout(Duration::ZERO)).await.unwrap_err().is_timeout());
    rig.pool.put(handle);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn call_with_the_longest_timeout_waits() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let mut get = Box::pin(rig.pool.get_timeout(Duration::MAX));
    assert!(poll_once(get.as_mut()).is_pending());
    sleep(1_200 * SECOND).await;
    assert!(poll_once(get.as_mut()).is_pending());
    rig.pool.put(held);
    let Poll::Ready(Ok(handle)) = poll_once(get.as_mut()) else { panic!("it waits on") };
    drop(get);
    rig.pool.put(handle);
    rig.finish(0).await;
}

// discard and detach

#[tokio::test(start_paused = true)]
async fn discarded_handle_is_released_and_not_lent_again() {
    let rig = Rig::new(1);
    let handle = rig.take().await;
    rig.probe.on(Verb::Release).close();
    rig.pool.discard(handle);
    settle().await;
    // L13: the slot is held until the release has ended.
    assert_eq!(rig.counts(), [0, 0, 0, 1, 0]);
    let waiter = rig.waiter();
    rig.probe.on(Verb::Release).always(Outcome::ok());
    let next = bounded(waiter).await.unwrap();
    assert_eq!((next.id(), rig.probe.record(0).exits.len(), rig.probe.on(Verb::Validate).calls()), (1, 1, 0));
    rig.pool.put(next);
    rig.finish(0).await;
}

/// The user decides, not the backend.
#[tokio::test(start_paused = true)]
async fn discarded_handles_open_no_breaker() {
    let rig = Rig::new(1);
    for id in 0..10 {
        let handle = rig.take().await;
        assert_eq!(handle.id(), id);
        rig.pool.discard(handle);
        settle().await;
    }
    assert!(!rig.pool.status().down, "{:?}", rig.pool);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn detached_handle_frees_its_slot_at_once() {
    let rig = Rig::new(1);
    let lease: Lease<Probe> = Pooled::detach(rig.take().await);
    assert_eq!(rig.counts(), [0; 5]);
    let next = rig.take().await;
    assert_eq!((lease.id(), next.id()), (0, 1));
    rig.pool.put(next);
    bounded(Lease::complete(lease)).await.unwrap();
    assert_eq!(rig.probe.record(0).exits, [Exit::Completed]);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn detached_handle_leaves_room_for_a_waiter() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let waiter = rig.waiter();
    let lease = Pooled::detach(held);
    let next = bounded(waiter).await.unwrap();
    assert_eq!(next.id(), 1);
    rig.pool.put(next);
    drop(lease);
    rig.finish(0).await;
}

/// Dropped, it is released as any lease is, and once.
#[tokio::test(start_paused = true)]
async fn detached_handle_outlives_the_pool() {
    let probe = Probe::new();
    let pool = without_limits().build(probe.clone());
    let lease = Pooled::detach(pool.get().await.unwrap());
    drop(pool);
    settle().await;
    assert_eq!(probe.counts().live(), 1);
    drop(lease);
    settle().await;
    assert_eq!((probe.counts().released, probe.record(0).exits), (1, vec![Exit::Cancelled]));
}

// Age and uses

#[tokio::test(start_paused = true)]
async fn age_of_a_handle_is_that_of_its_creation() {
    let rig = Rig::new(1);
    let handle = rig.take().await;
    assert!(Pooled::age(&handle) <= ROUND, "{:?}", Pooled::age(&handle));
    sleep(5 * SECOND).await;
    rig.pool.put(handle);
    sleep(5 * SECOND).await;
    let handle = rig.take().await;
    let age = Pooled::age(&handle);
    assert!((10 * SECOND - ROUND..=10 * SECOND + ROUND).contains(&age), "{age:?}");
    rig.pool.put(handle);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn uses_of_a_handle_do_not_count_the_present_one() {
    let rig = Rig::new(1);
    for uses in 0..4 {
        let handle = rig.take().await;
        assert_eq!(Pooled::uses(&handle), uses);
        if uses % 2 == 0 { rig.pool.put(handle) } else { drop(handle) }
    }
    rig.finish(0).await;
}

/// In the status.
#[tokio::test(start_paused = true)]
async fn use_that_ends_in_a_discard_or_a_detach_is_counted() {
    let rig = Rig::new(1);
    rig.fill(1).await;
    rig.pool.discard(rig.take().await);
    settle().await;
    assert_eq!(rig.pool.status().uses, 2);
    drop(Pooled::detach(rig.take().await));
    assert_eq!(rig.pool.status().uses, 3);
    rig.finish(0).await;
}

/// A validation is no use.
#[tokio::test(start_paused = true)]
async fn validations_are_not_counted_as_uses() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).keepalive(SECOND));
    rig.fill(1).await;
    sleep(10 * SECOND).await;
    let handle = rig.take().await;
    assert_eq!((handle.id(), Pooled::uses(&handle)), (0, 1));
    rig.pool.put(handle);
    rig.finish(0).await;
}

// get_ref

#[tokio::test(start_paused = true)]
async fn get_ref_returns_the_resource_of_the_pool() {
    let pool: Pool<Probe> = without_limits().build(Probe::new());
    pool.put(pool.get().await.unwrap());
    let probe: &Probe = pool.get_ref();
    assert_eq!(probe.counts().acquired, 1);
    assert!(!probe.settles(Exit::Completed));
}

// replace_all

/// Returns how many of the first handles are still in the pool.
fn old(pool: &Pool<Probe>, count: u64) -> usize {
    ids(pool).into_iter().filter(|id| *id < count).count()
}

#[tokio::test(start_paused = true)]
async fn replace_all_spreads_the_replacements_over_its_time() {
    let pool = without_limits().max_size(20).build(Probe::new());
    fill(&pool, 20).await;
    pool.replace_all(20 * SECOND);
    settle().await;
    assert!(old(&pool, 20) >= 15, "too many at once: {}", old(&pool, 20));
    pass(10 * SECOND).await;
    let left = old(&pool, 20);
    assert!((3..=17).contains(&left), "{left} at half time");
    pass(10 * SECOND + 2 * ROUND).await;
    assert_eq!(old(&pool, 20), 0);
}

#[tokio::test(start_paused = true)]
async fn callers_are_served_while_all_handles_are_replaced() {
    let probe = Probe::new();
    let pool = without_limits().max_size(10).min_idle(10).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Acquire).always(Outcome::ok().after(SECOND / 2));
    pool.replace_all(20 * SECOND);
    let began = Instant::now();
    while began.elapsed() < 20 * SECOND + 2 * ROUND {
        let before = Instant::now();
        pool.put(bounded(pool.get()).await.unwrap());
        assert!(before.elapsed() <= ROUND, "waited for {:?}", before.elapsed());
        pass(ROUND).await;
    }
    pass(2 * SECOND).await;
    assert_eq!((old(&pool, 10), pool.status().idle), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn lent_handle_is_replaced_when_it_is_returned() {
    let pool = without_limits().max_size(1).build(Probe::new());
    let handle = pool.get().await.unwrap();
    pool.replace_all(SECOND);
    pass(2 * SECOND).await;
    assert_eq!(pool.status().in_use, 1);
    pool.put(handle);
    settle().await;
    assert_eq!((pool.status().idle, pool.status().retired), (0, 1));
    assert_eq!(pool.get().await.unwrap().id(), 1);
}

/// From its expiry on, it is not lent without a validation, and not kept.
#[tokio::test(start_paused = true)]
async fn handle_is_too_old_at_the_moment_of_its_expiry() {
    let probe = Probe::new();
    let pool = without_limits().max_size(2).min_idle(1).validate_after(60 * SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    pool.replace_all(SECOND);
    probe.on(Verb::Acquire).close();
    advance(SECOND).await;
    let handle = bounded(pool.get()).await.unwrap();
    assert_eq!((handle.id(), probe.on(Verb::Validate).calls()), (0, 1));
    pool.put(handle);
    settle().await;
    assert_eq!((pool.status().idle, pool.status().retired), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn handle_created_after_replace_all_is_not_replaced() {
    let pool = without_limits().max_size(2).build(Probe::new());
    fill(&pool, 1).await;
    pool.replace_all(SECOND);
    pass(2 * SECOND).await;
    fill(&pool, 1).await;
    pass(10 * SECOND).await;
    assert_eq!((ids(&pool), pool.status().created), (vec![1], 2));
}

#[tokio::test(start_paused = true)]
async fn replace_all_at_once_or_over_the_longest_time_does_not_panic() {
    let pool = without_limits().max_size(3).build(Probe::new());
    fill(&pool, 3).await;
    pool.replace_all(Duration::MAX);
    pass(SECOND).await;
    pool.replace_all(Duration::ZERO);
    pass(SECOND).await;
    assert_eq!(old(&pool, 3), 0);
    pool.put(pool.get().await.unwrap());
}
