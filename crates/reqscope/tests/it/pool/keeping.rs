//! The janitor keeps enough objects, and none that are too old. To let time pass is free: the clocks are paused.

use reqscope_testkit::{Outcome, Probe, Verb};

use super::rounds::{ROUND, SECOND, ageless, fill, ids, pass};
use crate::support::{bounded, settle};

// min_idle

#[tokio::test(start_paused = true)]
async fn building_a_pool_makes_nothing() {
    let probe = Probe::new();
    let _pool = ageless().min_idle(3).build(probe.clone());
    pass(SECOND).await;
    assert_eq!(probe.on(Verb::Acquire).calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_check_out_brings_the_others_that_are_to_be_idle() {
    let pool = ageless().min_idle(3).build(Probe::new());
    let object = pool.get().await.unwrap();
    pass(2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().in_use), (3, 1));
    pool.put(object);
    pass(SECOND).await;
    assert_eq!((pool.status().idle, pool.status().created), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_idle_ones_than_the_pool_may_hold() {
    let pool = ageless().max_size(5).min_idle(3).build(Probe::new());
    pool.resize(2);
    let object = pool.get().await.unwrap();
    pass(SECOND).await;
    assert_eq!((pool.status().idle, pool.status().in_use), (1, 1));
    pool.put(object);
}

#[tokio::test(start_paused = true)]
async fn while_the_backend_is_down_the_pool_tries_once_a_second_to_fill_itself() {
    let probe = Probe::new();
    let pool = ageless().min_idle(1).build(probe.clone());
    probe.on(Verb::Acquire).always(Outcome::error());
    pool.get().await.unwrap_err();
    pass(10 * SECOND).await;
    let tries = probe.on(Verb::Acquire).calls();
    assert!((10..=12).contains(&tries), "{tries}");
    probe.on(Verb::Acquire).always(Outcome::ok());
    pass(SECOND + ROUND).await;
    assert_eq!((pool.status().idle, pool.status().down), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_warm_pool_has_them_before_anybody_asks() {
    let probe = Probe::new();
    let pool = ageless().min_idle(6).build(probe.clone());
    probe.on(Verb::Acquire).always(Outcome::ok().after(SECOND));
    pool.warm().await.unwrap();
    assert_eq!((pool.status().idle, pool.status().creating), (6, 0));
    pool.warm().await.unwrap();
    assert_eq!(pool.status().created, 6);
}

#[tokio::test(start_paused = true)]
async fn warming_a_pool_whose_backend_is_down_tells_the_cause() {
    let probe = Probe::new();
    let pool = ageless().min_idle(2).build(probe.clone());
    probe.on(Verb::Acquire).always(Outcome::error().after(ROUND));
    let error = pool.warm().await.unwrap_err();
    assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
    probe.on(Verb::Acquire).always(Outcome::ok());
    pass(SECOND).await;
    pool.warm().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn warming_ends_with_the_acquire_timeout_and_with_the_pool() {
    let probe = Probe::new();
    let pool = ageless().min_idle(1).acquire_timeout(SECOND).build(probe.clone());
    probe.on(Verb::Acquire).close();
    let error = bounded(pool.warm()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let warming = pool.warm();
    drop(pool.close(SECOND));
    assert!(warming.await.unwrap_err().is_closed());
    probe.on(Verb::Acquire).ok();
}

#[test]
fn warming_without_a_runtime_is_an_error() {
    let pool = ageless().min_idle(1).build(Probe::new());
    let waker = std::task::Waker::noop();
    let mut warming = Box::pin(pool.warm());
    let outcome = warming.as_mut().poll(&mut std::task::Context::from_waker(waker));
    assert!(matches!(outcome, std::task::Poll::Ready(Err(_))));
}

// idle_timeout

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_too_long_goes_save_as_many_as_are_to_be_idle() {
    let pool = ageless().min_idle(2).idle_timeout(60 * SECOND).build(Probe::new());
    fill(&pool, 5).await;
    pass(59 * SECOND).await;
    // While five were out, two more were to be idle.
    assert_eq!(pool.status().idle, 7);
    pass(SECOND + 2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().retired), (2, 5));
    pass(600 * SECOND).await;
    assert_eq!((pool.status().idle, pool.status().created), (2, 7));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_too_large_for_its_load_shrinks() {
    let pool = ageless().idle_timeout(60 * SECOND).build(Probe::new());
    fill(&pool, 5).await;
    for _ in 0..70 {
        pass(SECOND).await;
        let object = pool.get().await.unwrap();
        pool.put(object);
    }
    assert_eq!((pool.status().idle, pool.status().retired), (1, 4));
}

// max_lifetime

#[tokio::test(start_paused = true)]
async fn an_idle_one_that_is_too_old_goes_within_a_tenth_of_its_lifetime() {
    let pool = ageless().max_size(100).max_lifetime(100 * SECOND).build(Probe::new());
    fill(&pool, 100).await;
    pass(89 * SECOND).await;
    assert_eq!(pool.status().idle, 100);
    pass(6 * SECOND).await;
    let left = pool.status().idle;
    assert!((1..100).contains(&left), "by chance, not all at once: {left}");
    pass(5 * SECOND + 2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().retired), (0, 100));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_old_when_it_comes_back_goes() {
    let pool = ageless().max_lifetime(10 * SECOND).build(Probe::new());
    let object = pool.get().await.unwrap();
    pass(11 * SECOND).await;
    assert_eq!(pool.status().in_use, 1);
    pool.put(object);
    settle().await;
    assert_eq!((pool.status().idle, pool.status().retired), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_old_one_is_replaced_before_it_goes() {
    let probe = Probe::new();
    let pool = ageless().min_idle(1).max_lifetime(10 * SECOND).create_timeout(60 * SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Acquire).close();
    pass(20 * SECOND).await;
    assert_eq!((pool.status().idle, pool.status().creating, pool.status().retired), (1, 1, 0));
    probe.on(Verb::Acquire).ok();
    pass(2 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().created, pool.status().retired), (1, 2, 1));
    assert_eq!(ids(&pool), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_old_one_serves_on_while_the_backend_is_down() {
    let probe = Probe::new();
    let pool = ageless().min_idle(1).max_lifetime(10 * SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Acquire).always(Outcome::error());
    pass(60 * SECOND).await;
    let object = pool.get().await.unwrap();
    assert_eq!((object.id(), probe.on(Verb::Validate).calls()), (0, 1));
    pool.put(object);
}

#[tokio::test(start_paused = true)]
async fn in_a_full_pool_the_old_ones_are_exchanged_one_at_a_time() {
    let probe = Probe::new();
    let pool =
        ageless().max_size(3).min_idle(3).max_lifetime(10 * SECOND).create_timeout(60 * SECOND).build(probe.clone());
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

// max_uses

#[tokio::test(start_paused = true)]
async fn after_so_many_uses_an_object_goes() {
    let pool = ageless().max_uses(3).build(Probe::new());
    let mut used = Vec::new();
    for _ in 0..7 {
        let object = pool.get().await.unwrap();
        used.push(object.id());
        pool.put(object);
        settle().await;
    }
    assert_eq!(used, [0, 0, 0, 1, 1, 1, 2]);
    assert_eq!((pool.status().uses, pool.status().retired), (7, 2));
}
