//! A task that gets handles in a loop leaves turns to the other tasks of its thread.
//!
//! The fault: a `get` that found an idle handle never waited. While one task called it 1,000,000 times, another task of
//! the same thread did not run once, and a sleep of 5 ms ended after 2 s.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqscope::{Pool, Scopes};
use reqscope_testkit::Probe;
use tokio::task::yield_now;

use crate::support::real_time_runtime;

/// Calls `get` 10,000 times in one task, and returns how often another task ran meanwhile.
async fn turns_of_another_task<F: Future>(mut get: impl FnMut() -> F) -> usize {
    let ended = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&ended);
    let other = tokio::spawn(async move {
        let mut turns = 0;
        while !watched.load(Ordering::Relaxed) {
            turns += 1;
            yield_now().await;
        }
        turns
    });
    for _ in 0..10_000 {
        drop(get().await);
    }
    ended.store(true, Ordering::Relaxed);
    other.await.unwrap()
}

#[tokio::test]
async fn gets_of_an_idle_handle_leave_turns_to_other_tasks() {
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&Arc::new(Probe::new()));
    let turns = turns_of_another_task(|| async { lazy.get().await.unwrap() }).await;
    assert!(turns > 50, "{turns} turns");
}

#[tokio::test]
async fn failing_gets_leave_turns_to_other_tasks() {
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&Arc::new(Probe::new()));
    drop(scope);
    let turns = turns_of_another_task(|| async { lazy.get().await.unwrap_err() }).await;
    assert!(turns > 50, "{turns} turns");
}

#[tokio::test]
async fn check_outs_of_an_idle_handle_leave_turns_to_other_tasks() {
    let pool = Pool::new(Probe::new());
    let turns = turns_of_another_task(|| async {
        let handle = pool.get().await.unwrap();
        pool.put(handle);
    });
    let turns = turns.await;
    assert!(turns > 50, "{turns} turns");
}

/// The fault: these are ready at once when there is nothing to wait for, and did not use up the budget either.
#[tokio::test]
async fn waits_for_nothing_leave_turns_to_other_tasks() {
    let scopes = Scopes::new();
    let (open, ended) = (scopes.open(), scopes.open().handle().clone());
    let lazy = open.lazy(&Arc::new(Probe::new()));
    let idle = Scopes::new();
    for turns in [
        turns_of_another_task(|| async { lazy.complete().await.unwrap() }).await,
        turns_of_another_task(|| async { lazy.fail().await.unwrap() }).await,
        turns_of_another_task(|| async { ended.ended().await.map(drop).unwrap() }).await,
        turns_of_another_task(|| async { ended.closed().await }).await,
        turns_of_another_task(|| async { assert!(idle.drain(Duration::from_secs(1)).await.is_clean()) }).await,
    ] {
        assert!(turns > 50, "{turns} turns");
    }
}

/// On the real clock, because a paused one advances only while all tasks wait.
#[test]
fn sleep_ends_while_another_task_gets_in_a_loop() {
    real_time_runtime().block_on(async {
        let scope = Scopes::new().open();
        let lazy = scope.lazy(&Arc::new(Probe::new()));
        let asleep = tokio::spawn(tokio::time::sleep(Duration::from_millis(5)));
        for _ in 0..20_000_000 {
            if asleep.is_finished() {
                return;
            }
            drop(lazy.get().await.unwrap());
        }
        panic!("the sleep did not end");
    });
}
