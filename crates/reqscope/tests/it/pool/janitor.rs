//! When a janitor starts, and when it ends.

use std::pin::pin;

use reqscope_testkit::{Probe, Verb, poll_once};

use super::aging::{ROUND, SECOND, fill, pass, without_limits};
use crate::support::{bounded, runtime, settle};

/// The fault: a janitor that could do nothing on a runtime without timers kept any other from being started.
#[test]
fn janitor_runs_on_a_healthy_runtime_after_one_without_timers() {
    let pool = without_limits().idle_timeout(SECOND).build(Probe::new());
    let timerless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    timerless.block_on(async {
        pool.put(pool.get().await.unwrap());
        settle().await;
    });
    runtime().block_on(async {
        pool.put(pool.get().await.unwrap());
        pass(2 * SECOND).await;
    });
    assert_eq!(pool.status().retired, 1, "it has been idle for too long");
    drop(timerless);
}

#[test]
fn check_out_starts_a_janitor_after_its_runtime_ended() {
    let pool = without_limits().idle_timeout(SECOND).build(Probe::new());
    for round in 1..=2 {
        runtime().block_on(async {
            fill(&pool, 2).await;
            pass(2 * SECOND).await;
        });
        assert_eq!((pool.status().idle, pool.status().retired), (0, 2 * round));
    }
}

/// While a caller waits, others join the queue without looking for an idle handle, and do not start a janitor.
#[test]
fn check_out_after_a_cancelled_wait_starts_a_janitor() {
    let pool = without_limits().max_size(1).idle_timeout(SECOND).build(Probe::new());
    runtime().block_on(async {
        let held = pool.get().await.unwrap();
        assert!(poll_once(pin!(pool.get())).is_pending(), "it has to wait");
        pool.put(held);
    });
    runtime().block_on(async {
        fill(&pool, 1).await;
        fill(&pool, 1).await;
        pass(2 * SECOND).await;
    });
    assert_eq!((pool.status().idle, pool.status().retired), (0, 1));
}

/// The waiter that is polled again finds the janitor gone, and does not start one itself.
#[test]
fn caller_after_a_waiter_without_a_janitor_starts_one() {
    let pool = without_limits().max_size(1).idle_timeout(SECOND).build(Probe::new());
    let (held, mut waiter) = runtime().block_on(async {
        let held = pool.get().await.unwrap();
        let mut waiter = Box::pin(pool.get());
        assert!(poll_once(waiter.as_mut()).is_pending(), "it has to wait");
        (held, waiter)
    });
    runtime().block_on(async {
        assert!(poll_once(waiter.as_mut()).is_pending(), "it waits on");
        assert!(poll_once(pin!(pool.get())).is_pending(), "it has to wait");
        drop(waiter);
        pool.put(held);
        pass(2 * SECOND).await;
    });
    assert_eq!((pool.status().idle, pool.status().retired), (0, 1));
}

#[test]
fn handle_idle_without_a_janitor_is_not_taken_as_fresh() {
    let probe = Probe::new();
    let pool = without_limits().validate_after(ROUND).build(probe.clone());
    runtime().block_on(fill(&pool, 1));
    // Time passes, and no janitor runs.
    let began = std::time::Instant::now();
    while began.elapsed() < 2 * ROUND {
        std::thread::yield_now();
    }
    assert!(pool.try_get().is_none());
    runtime().block_on(async { pool.put(pool.get().await.unwrap()) });
    assert_eq!(probe.on(Verb::Validate).calls(), 1);
}

#[test]
fn runtime_without_timers_gets_no_janitor_and_no_error() {
    let pool = without_limits().build(Probe::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            let handle = pool.get().await.unwrap();
            pool.put(handle);
            settle().await;
        }
    });
    assert_eq!(pool.status().uses, 3);
}

#[test]
fn janitor_with_nothing_to_do_ends() {
    // The task that reports the end of the runtime, until the pool is closed.
    const WATCH: usize = 1;
    runtime().block_on(async {
        let pool = without_limits().idle_timeout(SECOND).min_idle(1).build(Probe::new());
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        fill(&pool, 1).await;
        pass(10 * SECOND).await;
        assert_eq!(tasks(), WATCH + 1, "one handle is to stay idle");
        bounded(pool.close(SECOND)).await;
        pass(2 * ROUND).await;
        assert_eq!(tasks(), 0, "the pool is closed");

        let pool = without_limits().idle_timeout(SECOND).build(Probe::new());
        fill(&pool, 1).await;
        pass(2 * SECOND).await;
        assert_eq!(tasks(), WATCH, "the pool is empty");
        let handle = pool.get().await.unwrap();
        settle().await;
        assert_eq!(tasks(), WATCH + 1, "a new check-out");
        pool.put(handle);
        drop(pool);
        pass(2 * ROUND).await;
        assert_eq!(tasks(), 0, "the pool is gone");
    });
}

/// The waiter does not start another one: it is in the queue already.
#[tokio::test(start_paused = true)]
async fn janitor_of_an_empty_pool_stays_for_a_waiter() {
    let pool = without_limits().leak_after(SECOND).acquire_timeout(60 * SECOND).build(Probe::new());
    pool.pause();
    let waiting = tokio::spawn(pool.get());
    pass(10 * SECOND).await;
    pool.resume();
    let handle = bounded(waiting).await.unwrap().unwrap();
    pass(2 * SECOND).await;
    assert_eq!(pool.status().held_too_long, 1);
    pool.put(handle);
}
