//! What users of other pools expect, and once did not find here.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;
use std::time::Duration;

use reqscope::pool::Reset;
use reqscope_testkit::{Outcome, Probe, Verb, Wakes};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use super::aging::{ROUND, SECOND, fill, ids, pass, without_limits};
use super::rig::Rig;
use crate::support::{bounded, runtime, settle};

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

// try_get and warm

/// The fault: nothing began the validation, so a quiet pool answered `None` without end.
#[tokio::test(start_paused = true)]
async fn try_get_on_a_quiet_pool_begins_the_validation() {
    let rig = Rig::new(1);
    rig.fill(1).await;
    sleep(10 * SECOND).await;
    if let Some(handle) = rig.pool.try_get() {
        panic!("lent without a validation: {handle:?}");
    }
    settle().await;
    let handle = rig.pool.try_get().expect("it was validated in the background");
    assert_eq!((handle.id(), rig.probe.on(Verb::Validate).calls()), (0, 1));
    rig.pool.put(handle);
    rig.finish(0).await;
}

/// The others stay available to callers that can wait.
#[tokio::test(start_paused = true)]
async fn try_get_validates_only_one_handle_at_a_time() {
    let rig = Rig::new(3);
    rig.fill(3).await;
    sleep(10 * SECOND).await;
    rig.probe.on(Verb::Validate).close();
    assert!(rig.pool.try_get().is_none());
    settle().await;
    assert_eq!((rig.probe.on(Verb::Validate).calls(), rig.counts()[..2].to_vec()), (1, vec![1, 2]));
    rig.probe.on(Verb::Validate).always(Outcome::ok());
    rig.finish(0).await;
}

/// The fault: with the default of `min_idle` it did nothing, and said that all was well.
#[tokio::test(start_paused = true)]
async fn warm_on_a_dead_backend_is_an_error() {
    let probe = Probe::new();
    let pool = without_limits().build(probe.clone());
    probe.on(Verb::Acquire).always(Outcome::error());
    let error = bounded(pool.warm()).await.unwrap_err();
    assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn warm_makes_at_least_one_handle() {
    let pool = without_limits().build(Probe::new());
    bounded(pool.warm()).await.unwrap();
    assert_eq!((pool.status().idle, pool.status().created), (1, 1));
    bounded(pool.warm()).await.unwrap();
    assert_eq!((pool.status().idle, pool.status().created), (1, 1));
}

// Handles that the pool validates

/// The fault: the nine others were validated, which the janitor took for a use, and four to ten handles were created.
#[tokio::test(start_paused = true)]
async fn one_dead_handle_among_ten_costs_two_connects_at_most() {
    let probe = Probe::new();
    let pool = without_limits().max_size(30).min_idle(10).validate_after(SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    fill(&pool, 10).await;
    pass(3 * SECOND).await;
    let before = pool.status().created;
    // Slow enough for some rounds of the janitor.
    probe.on(Verb::Validate).next(Outcome::error()).always(Outcome::ok().after(5 * ROUND));
    pool.put(pool.get().await.unwrap());
    pass(5 * SECOND).await;
    let created = pool.status().created - before;
    // Another one while the caller has its handle, because ten are to be idle then too.
    assert!(created <= 2, "{created} connects for one dead handle");
    assert!(pool.status().idle >= 10, "{pool:?}");
}

/// The fault: with 10 idle handles a keepalive made it 14.
#[tokio::test(start_paused = true)]
async fn keepalive_does_not_grow_the_pool() {
    let probe = Probe::new();
    let pool = without_limits().max_size(30).min_idle(10).keepalive(5 * SECOND).build(probe.clone());
    pool.warm().await.unwrap();
    probe.on(Verb::Validate).always(Outcome::ok().after(5 * ROUND));
    pass(60 * SECOND).await;
    assert!(probe.on(Verb::Validate).calls() >= 10, "no keepalive");
    assert_eq!(pool.status().created, 10);
}

/// The fault: the pool's own validation counted as another user.
#[tokio::test(start_paused = true)]
async fn caller_waits_for_a_validation_though_no_waiter_is_allowed() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).max_waiters(0).reset(Reset::Always));
    rig.probe.on(Verb::Validate).next(Outcome::ok().after(ROUND));
    drop(rig.take().await);
    settle().await;
    assert_eq!(rig.pool.status().in_use, 1, "it is being validated");
    let handle = rig.take().await;
    assert_eq!(handle.id(), 0);
    assert!(bounded(rig.pool.get()).await.unwrap_err().is_exhausted(), "a user has it now");
    rig.probe.on(Verb::Validate).always(Outcome::ok());
    rig.pool.put(handle);
}

// Texts

#[tokio::test(start_paused = true)]
async fn timeout_during_a_pause_says_paused() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(2).name("orders").acquire_timeout(SECOND));
    rig.fill(1).await;
    rig.pool.pause();
    let error = bounded(rig.pool.get()).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("paused"), "{error}");
    rig.pool.resume();
    rig.finish(0).await;
}

/// An error of a pool that is not paused must not send its reader there.
#[tokio::test(start_paused = true)]
async fn timeout_after_a_pause_does_not_say_paused() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).acquire_timeout(SECOND));
    rig.pool.pause();
    rig.pool.resume();
    let held = rig.take().await;
    let error = bounded(rig.pool.get()).await.unwrap_err();
    assert!(error.is_timeout() && !error.to_string().contains("paused"), "{error}");
    rig.pool.put(held);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn error_of_a_closed_pool_names_the_pool() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).name("orders"));
    let held = rig.take().await;
    let (waiter, warming) = (rig.waiter(), rig.pool.warm());
    drop(rig.pool.close(SECOND));
    rig.pool.put(held);
    let late = bounded(rig.pool.get()).await.unwrap_err();
    for error in [bounded(waiter).await.unwrap_err(), bounded(warming).await.unwrap_err(), late] {
        assert!(error.is_closed() && error.to_string().contains("orders"), "{error}");
    }
}

// The line

/// The fault: "limit reached" for the 101st caller of a slot, although each would have been served in time.
#[tokio::test(start_paused = true)]
async fn line_is_unlimited_by_default() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let waiters = rig.waiters(2_000).await;
    rig.pool.put(held);
    for waiter in waiters {
        rig.pool.put(bounded(waiter).await.unwrap());
    }
    rig.finish(0).await;
}

/// The fault: each failed attempt woke the whole line, 900 wake-ups for one connect.
#[tokio::test(start_paused = true)]
async fn failed_connect_wakes_no_waiter_that_cannot_act() {
    const LINE: usize = 200;
    let rig = Rig::new(2);
    let held = rig.take().await;
    rig.probe.on(Verb::Acquire).always(Outcome::error().after_polls(1));
    let polls = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for mut waiter in rig.waiters(LINE).await {
        let polls = Arc::clone(&polls);
        callers.push(tokio::spawn(async move {
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                waiter.as_mut().poll(cx)
            })
            .await
        }));
    }
    settle().await;
    let (polled, tried) = (polls.load(Ordering::Relaxed), rig.probe.on(Verb::Acquire).calls());
    sleep(SECOND).await;
    let polled = polls.load(Ordering::Relaxed) - polled;
    let tried = rig.probe.on(Verb::Acquire).calls() - tried;
    // One that begins it, and one or two that find out how it ended.
    assert!(polled <= LINE as u64 + 4 * tried, "{polled} wake-ups for {tried} connects");
    rig.probe.on(Verb::Acquire).always(Outcome::ok());
    rig.pool.put(held);
    for caller in callers {
        rig.pool.put(bounded(caller).await.unwrap().unwrap());
    }
    rig.finish(0).await;
}

/// One returned handle is for one waiter.
#[tokio::test(start_paused = true)]
async fn returned_handle_wakes_one_waiter() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut waiters = rig.waiters(50).await;
    for waiter in &mut waiters {
        assert!(waiter.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let before = wakes.count();
    rig.pool.put(held);
    assert_eq!(wakes.count() - before, 1);
    rig.pool.put(bounded(waiters.remove(0)).await.unwrap());
    drop(waiters);
    rig.finish(0).await;
}

// Limits without a limit

/// The fault: an overflow, after which the pool served no caller.
#[tokio::test(start_paused = true)]
async fn min_idle_without_limit_fills_the_pool() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(5).min_idle(usize::MAX));
    let held = rig.take().await;
    pass(SECOND).await;
    assert_eq!(rig.counts(), [1, 4, 0, 0, 0]);
    rig.pool.put(held);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn min_idle_without_limit_serves_waiters() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(2).min_idle(usize::MAX));
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after(ROUND));
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let pool = rig.pool.clone();
            tokio::spawn(async move { pool.get().await.map(|handle| pool.put(handle)) })
        })
        .collect();
    for caller in callers {
        bounded(caller).await.unwrap().unwrap();
    }
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn warm_with_min_idle_without_limit_fills_the_pool() {
    let pool = without_limits().max_size(5).min_idle(usize::MAX).build(Probe::new());
    bounded(pool.warm()).await.unwrap();
    assert_eq!(pool.status().idle, 5);
}

#[tokio::test(start_paused = true)]
async fn create_concurrency_without_limit_fills_the_pool_at_once() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(50).create_concurrency(usize::MAX));
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after(ROUND));
    let began = Instant::now();
    let callers: Vec<_> = (0..50).map(|_| tokio::spawn(rig.waiter())).collect();
    for caller in callers {
        rig.pool.put(bounded(caller).await.unwrap().unwrap());
    }
    assert!(began.elapsed() <= ROUND + ROUND / 10, "{:?}", began.elapsed());
    rig.finish(0).await;
}

/// The fault: a runtime that ends refuses the task of a creation, which was begun again at once, for seconds. The waiter
/// on another runtime counts how often.
#[test]
fn create_concurrency_without_limit_does_not_spin_in_a_shutdown() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).create_concurrency(usize::MAX));
    for begin in [runtime, threads] {
        let (ends, live) = (begin(), runtime());
        rig.probe.on(Verb::Release).never();
        ends.block_on(async {
            rig.take().await.kill();
            settle().await;
        });
        assert_eq!(rig.pool.status().ending, 1);
        let (wakes, mut waiter) = (Wakes::new(), rig.waiter_on(&live));
        {
            let _context = live.enter();
            assert!(waiter.as_mut().poll(&mut Context::from_waker(&wakes.waker())).is_pending());
        }
        rig.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(1));
        drop(ends);
        assert!(wakes.count() < 100, "{} wake-ups", wakes.count());
        live.block_on(async {
            let mut handle = bounded(waiter).await.unwrap();
            handle.kill();
            rig.pool.put(handle);
            settle().await;
        });
    }
}

// clear

/// The fault: a creation that a `clear` overtook was released unused, so with a `clear` every 20 ms and connects of 50 ms
/// no caller was ever served.
#[tokio::test(start_paused = true)]
async fn clears_more_often_than_connects_starve_no_caller() {
    let rig = Rig::new(4);
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after(Duration::from_millis(50)));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let pool = rig.pool.clone();
            tokio::spawn(async move { pool.get().await.map(|handle| pool.put(handle)) })
        })
        .collect();
    let pool = rig.pool.clone();
    let clears = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(20)).await;
            pool.clear();
        }
    });
    let began = Instant::now();
    for caller in callers {
        bounded(caller).await.unwrap().unwrap();
    }
    assert!(began.elapsed() <= 5 * SECOND, "{:?}", began.elapsed());
    clears.abort();
    rig.finish(0).await;
}

/// It was created before the `clear`: one caller may have it, and no second one.
#[tokio::test(start_paused = true)]
async fn connect_overtaken_by_a_clear_serves_one_caller_only() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Acquire).next(Outcome::ok().after(ROUND));
    let waiter = rig.waiter();
    settle().await;
    rig.pool.clear();
    let first = bounded(waiter).await.unwrap();
    assert_eq!(first.id(), 0, "the connect was thrown away");
    rig.pool.put(first);
    settle().await;
    assert_eq!(rig.pool.status().idle, 0);
    let second = rig.take().await;
    assert_eq!(second.id(), 1);
    rig.pool.put(second);
    rig.finish(0).await;
}

/// No caller waits for it any more.
#[tokio::test(start_paused = true)]
async fn connect_overtaken_by_a_clear_does_not_become_idle() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Acquire).next(Outcome::ok().after(ROUND));
    let waiter = rig.waiter();
    settle().await;
    drop(waiter);
    rig.pool.clear();
    pass(SECOND).await;
    assert_eq!((rig.pool.status().idle, rig.probe.record(0).exits.len()), (0, 1));
    rig.finish(0).await;
}

// retain and status

/// Half of them are rejected: the others stay, in their order.
#[tokio::test(start_paused = true)]
async fn retain_keeps_the_order_of_a_large_pool() {
    let pool = without_limits().max_size(2_000).build(Probe::new());
    fill(&pool, 2_000).await;
    assert_eq!(pool.retain(|handle| handle.id() % 2 == 0), 1_000);
    let left = ids(&pool);
    assert_eq!(left.len(), 1_000);
    assert!(left.is_sorted() && left.iter().all(|id| id % 2 == 0), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn status_and_holders_of_a_busy_pool_add_up() {
    let rig = Rig::new(100);
    let all = rig.take_all(100).await;
    let waiters = rig.waiters(100).await;
    for (returned, handle) in all.into_iter().enumerate() {
        let status = rig.pool.status();
        assert_eq!((status.in_use, status.idle, status.waiting), (100, 0, 100 - returned));
        assert_eq!(rig.pool.holders().len(), 100);
        rig.pool.put(handle);
        // Granted, and not taken yet: in use all the same.
        assert_eq!(rig.pool.status().in_use, 100);
    }
    for waiter in waiters {
        rig.pool.put(bounded(waiter).await.unwrap());
    }
    rig.finish(0).await;
}
