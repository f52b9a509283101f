//! The janitor keeps enough handles, and none that are too old.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use reqscope::pool::Reset;
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};

use super::aging::{ROUND, SECOND, fill, ids, pass, without_limits};
use crate::support::{bounded, settle};

// min_idle

#[tokio::test(start_paused = true)]
async fn building_a_pool_creates_nothing() {
    let probe = Probe::new();
    let _pool = without_limits().min_idle(3).build(probe.clone());
    pass(SECOND).await;
    assert_eq!(probe.on(Verb::Acquire).calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn first_check_out_starts_filling_up_to_min_idle() {
    let pool = without_limits().min_idle(3).build(Probe::new());
    let handle = pool.get().await.unwrap();
    pass(2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().in_use), (3, 1));
    pool.put(handle);
    pass(SECOND).await;
    assert_eq!((pool.status().idle, pool.status().created), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn min_idle_never_exceeds_the_size() {
    let pool = without_limits().max_size(5).min_idle(3).build(Probe::new());
    pool.resize(2);
    let handle = pool.get().await.unwrap();
    pass(SECOND).await;
    assert_eq!((pool.status().idle, pool.status().in_use), (1, 1));
    pool.put(handle);
}

#[tokio::test(start_paused = true)]
async fn pool_tries_to_fill_once_a_second_during_an_outage() {
    let probe = Probe::new();
    let pool = without_limits().min_idle(1).build(probe.clone());
    probe.on(Verb::Acquire).always(Outcome::error());
    pool.get().await.unwrap_err();
    pass(10 * SECOND).await;
    let tries = probe.on(Verb::Acquire).calls();
    assert!((12..=15).contains(&tries), "{tries}");
    probe.on(Verb::Acquire).always(Outcome::ok());
    pass(SECOND + ROUND).await;
    assert_eq!((pool.status().idle, pool.status().down), (1, false));
}

#[tokio::test(start_paused = true)]
async fn warm_creates_min_idle_before_the_first_get() {
    let probe = Probe::new();
    let pool = without_limits().min_idle(6).build(probe.clone());
    probe.on(Verb::Acquire).always(Outcome::ok().after(SECOND));
    pool.warm().await.unwrap();
    assert_eq!((pool.status().idle, pool.status().creating), (6, 0));
    pool.warm().await.unwrap();
    assert_eq!(pool.status().created, 6);
}

/// No slot is free meanwhile, but not every handle is there.
#[tokio::test(start_paused = true)]
async fn warm_of_all_slots_waits_for_the_last_creation() {
    let probe = Probe::new();
    let pool = without_limits().max_size(3).min_idle(3).build(probe.clone());
    probe.on(Verb::Acquire).next(Outcome::ok().after(SECOND)).always(Outcome::ok().after(2 * SECOND));
    bounded(pool.warm()).await.unwrap();
    assert_eq!((pool.status().idle, pool.status().creating), (3, 0));
}

/// They will be idle again.
#[tokio::test(start_paused = true)]
async fn warm_counts_handles_that_are_being_validated() {
    let probe = Probe::new();
    let pool = without_limits().min_idle(2).reset(Reset::Always).build(probe.clone());
    pool.warm().await.unwrap();
    let both = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    probe.on(Verb::Validate).close();
    both.into_iter().for_each(|handle| pool.put(handle));
    settle().await;
    let created = pool.status().created;
    assert!(matches!(poll_once(pin!(pool.warm())), Poll::Ready(Ok(()))));
    assert_eq!(pool.status().created, created);
    probe.on(Verb::Validate).always(Outcome::ok());
}

#[tokio::test(start_paused = true)]
async fn warm_returns_the_cause_if_the_backend_is_down() {
    let probe = Probe::new();
    let pool = without_limits().min_idle(2).build(probe.clone());
    probe.on(Verb::Acquire).always(Outcome::error().after(ROUND));
    let error = pool.warm().await.unwrap_err();
    assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
    probe.on(Verb::Acquire).always(Outcome::ok());
    pass(SECOND).await;
    pool.warm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn warm_ends_with_the_acquire_timeout_or_the_pool() {
    let probe = Probe::new();
    let pool = without_limits().min_idle(1).acquire_timeout(SECOND).build(probe.clone());
    probe.on(Verb::Acquire).close();
    let error = bounded(pool.warm()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let warming = pool.warm();
    drop(pool.close(SECOND));
    assert!(warming.await.unwrap_err().is_closed());
    probe.on(Verb::Acquire).ok();
}

#[test]
fn warm_without_a_runtime_is_an_error() {
    let pool = without_limits().min_idle(1).build(Probe::new());
    let waker = std::task::Waker::noop();
    let mut warming = Box::pin(pool.warm());
    let outcome = warming.as_mut().poll(&mut std::task::Context::from_waker(waker));
    assert!(matches!(outcome, std::task::Poll::Ready(Err(_))));
}

// idle_timeout

#[tokio::test(start_paused = true)]
async fn idle_timeout_releases_all_but_min_idle() {
    let pool = without_limits().min_idle(2).idle_timeout(60 * SECOND).build(Probe::new());
    fill(&pool, 5).await;
    pass(59 * SECOND).await;
    // While five were lent, two more were created to be idle.
    assert_eq!(pool.status().idle, 7);
    pass(SECOND + 2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().retired), (2, 5));
    pass(600 * SECOND).await;
    assert_eq!((pool.status().idle, pool.status().created), (2, 7));
}

#[tokio::test(start_paused = true)]
async fn time_in_use_does_not_count_as_idle() {
    let pool = without_limits().idle_timeout(60 * SECOND).build(Probe::new());
    let handle = pool.get().await.unwrap();
    pass(59 * SECOND).await;
    pool.put(handle);
    pass(59 * SECOND).await;
    assert_eq!((pool.status().idle, pool.status().retired), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn pool_too_large_for_its_load_shrinks() {
    let pool = without_limits().idle_timeout(60 * SECOND).build(Probe::new());
    fill(&pool, 5).await;
    for _ in 0..70 {
        pass(SECOND).await;
        let handle = pool.get().await.unwrap();
        pool.put(handle);
    }
    assert_eq!((pool.status().idle, pool.status().retired), (1, 4));
}

// max_lifetime

#[tokio::test(start_paused = true)]
async fn idle_handle_ends_within_a_tenth_of_its_lifetime() {
    let pool = without_limits().max_size(100).max_lifetime(100 * SECOND).build(Probe::new());
    fill(&pool, 100).await;
    pass(89 * SECOND).await;
    assert_eq!(pool.status().idle, 100);
    pass(6 * SECOND).await;
    let left = pool.status().idle;
    assert!((1..100).contains(&left), "at random, not all at once: {left}");
    pass(5 * SECOND + 2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().retired), (0, 100));
}

#[tokio::test(start_paused = true)]
async fn handle_too_old_on_return_is_released() {
    let pool = without_limits().max_lifetime(10 * SECOND).build(Probe::new());
    let handle = pool.get().await.unwrap();
    pass(11 * SECOND).await;
    assert_eq!(pool.status().in_use, 1);
    pool.put(handle);
    settle().await;
    assert_eq!((pool.status().idle, pool.status().retired), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn old_handle_is_replaced_before_it_is_released() {
    let probe = Probe::new();
    let pool =
        without_limits().min_idle(1).max_lifetime(10 * SECOND).create_timeout(60 * SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Acquire).close();
    pass(20 * SECOND).await;
    assert_eq!((pool.status().idle, pool.status().creating, pool.status().retired), (1, 1, 0));
    probe.on(Verb::Acquire).ok();
    pass(2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().created, pool.status().retired), (1, 2, 1));
    assert_eq!(ids(&pool), [1]);
}

/// One failure is no outage, in which it would be tried once a second.
#[tokio::test(start_paused = true)]
async fn failed_replacement_is_tried_again_at_the_next_round() {
    let probe = Probe::new();
    let pool = without_limits().min_idle(1).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Acquire).error();
    pool.replace_all(Duration::ZERO);
    pass(5 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().retired, probe.on(Verb::Acquire).calls()), (1, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn old_handle_serves_on_during_an_outage() {
    let probe = Probe::new();
    let pool = without_limits().min_idle(1).max_lifetime(10 * SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Acquire).always(Outcome::error());
    pass(60 * SECOND).await;
    let handle = pool.get().await.unwrap();
    assert_eq!((handle.id(), probe.on(Verb::Validate).calls()), (0, 1));
    pool.put(handle);
}

#[tokio::test(start_paused = true)]
async fn full_pool_replaces_old_handles_one_at_a_time() {
    let probe = Probe::new();
    let pool = without_limits()
        .max_size(3)
        .min_idle(3)
        .max_lifetime(10 * SECOND)
        .create_timeout(60 * SECOND)
        .build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Acquire).close();
    pass(20 * SECOND).await;
    assert_eq!((pool.status().idle, pool.status().creating), (2, 1));
    for left in [1, 0] {
        probe.on(Verb::Acquire).ok();
        pass(3 * ROUND).await;
        let young = ids(&pool).into_iter().filter(|id| *id > 2).count();
        assert_eq!((pool.status().idle, pool.status().creating, young), (2, 1, 2 - left));
    }
    probe.on(Verb::Acquire).always(Outcome::ok());
    pass(2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().retired), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn full_pool_replaces_no_other_handle_during_a_release() {
    let probe = Probe::new();
    let builder = without_limits().max_size(3).min_idle(3).max_lifetime(10 * SECOND);
    let pool = builder.release_timeout(60 * SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Release).close();
    pass(20 * SECOND).await;
    assert_eq!((pool.status().idle, pool.status().ending), (2, 1));
    probe.on(Verb::Release).always(Outcome::ok());
    pass(SECOND).await;
    assert_eq!((pool.status().idle, pool.status().retired), (3, 3));
}

// max_uses

#[tokio::test(start_paused = true)]
async fn handle_is_released_after_max_uses() {
    let pool = without_limits().max_uses(3).build(Probe::new());
    let mut used = Vec::new();
    for _ in 0..7 {
        let handle = pool.get().await.unwrap();
        used.push(handle.id());
        pool.put(handle);
        settle().await;
    }
    assert_eq!(used, [0, 0, 0, 1, 1, 1, 2]);
    assert_eq!((pool.status().uses, pool.status().retired), (7, 2));
}
