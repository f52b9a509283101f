//! L5 and L17 for the waiters of one handle: in order, and past a waiter that is not polled after at most 10 ms.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::future::Get;
use reqscope::{Guard, Lazy};
use reqscope_testkit::{Probe, poll_once};
use tokio::time::{Instant, advance, sleep};

use crate::support::{Server, bounded, get_now, runtime, settle};

/// Begins a `get` that has to wait, and is not polled again unless the test does so.
fn waiter(lazy: &Lazy<Probe>) -> Pin<Box<Get<Probe>>> {
    let mut get = Box::pin(lazy.get());
    assert!(poll_once(get.as_mut()).is_pending());
    get
}

/// The fault: every returned guard woke all waiters, and whichever was polled first got the handle.
#[tokio::test(start_paused = true)]
async fn waiters_get_the_handle_in_order() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let order = Arc::new(Mutex::new(Vec::new()));
    let users: Vec<_> = (0..10)
        .map(|number| {
            let (lazy, order) = (lazy.clone(), Arc::clone(&order));
            tokio::spawn(async move {
                for _ in 0..2 {
                    let _guard = lazy.get().await.unwrap();
                    order.lock().push(number);
                    sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    settle().await;
    drop(guard);
    for user in users {
        user.await.unwrap();
    }
    let once: Vec<_> = (0..10).collect();
    assert_eq!(*order.lock(), [once.clone(), once].concat());
}

#[tokio::test(start_paused = true)]
async fn waiter_that_is_not_polled_is_overtaken_after_10_ms() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut asleep = waiter(&lazy);
    let other = tokio::spawn(lazy.get());
    settle().await;
    drop(guard);
    let began = Instant::now();
    let guard = bounded(other).await.unwrap().unwrap();
    let waited = began.elapsed();
    assert!((10..12).contains(&waited.as_millis()), "{waited:?}");

    // When it is polled again, it is the next one.
    let behind = waiter(&lazy);
    assert!(poll_once(asleep.as_mut()).is_pending());
    drop(guard);
    assert!(poll_once(asleep.as_mut()).is_ready());
    drop(behind);
}

#[tokio::test(start_paused = true)]
async fn waiters_that_are_not_polled_delay_others_10_ms_each() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut guard = get_now(&lazy);
    let _asleep: Vec<_> = (0..5).map(|_| waiter(&lazy)).collect();
    let began = Instant::now();
    for round in 0..3 {
        let other = tokio::spawn(lazy.get());
        settle().await;
        drop(guard);
        guard = bounded(other).await.unwrap().unwrap();
        let waited = began.elapsed();
        assert!((50..56).contains(&waited.as_millis()), "round {round}: {waited:?}");
    }
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn waiter_between_others_that_are_not_polled_gets_the_handle() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let _before = [waiter(&lazy), waiter(&lazy)];
    let other = tokio::spawn(lazy.get());
    settle().await;
    let _behind = waiter(&lazy);
    drop(guard);
    let began = Instant::now();
    drop(bounded(other).await.unwrap().unwrap());
    // It is not woken at once, but the deadline of its own wait for the guard still holds.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

/// The runtime of the first waiters is alive, but nothing drives it any more.
#[test]
fn waiters_on_a_runtime_that_stands_still_are_overtaken() {
    let (still, live, server) = (runtime(), runtime(), Server::new());
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    still.block_on(async {
        for _ in 0..2 {
            drop(tokio::spawn(lazy.get()));
        }
        settle().await;
    });
    live.block_on(async {
        let other = tokio::spawn(lazy.get());
        settle().await;
        drop(guard);
        let began = Instant::now();
        drop(bounded(other).await.unwrap().unwrap());
        assert!(began.elapsed() < Duration::from_millis(25), "{:?}", began.elapsed());
    });
}

#[tokio::test(start_paused = true)]
async fn woken_waiter_that_is_dropped_passes_its_turn_on() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut leaving: Vec<_> = (0..3).map(|_| waiter(&lazy)).collect();
    let other = tokio::spawn(lazy.get());
    settle().await;
    let _last = waiter(&lazy);
    drop(guard);
    let began = Instant::now();
    // The last one first, so that each of them is woken by the one before it.
    while let Some(get) = leaving.pop() {
        drop(get);
    }
    drop(bounded(other).await.unwrap().unwrap());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order_after_a_detach() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let (mut first, mut second) = (waiter(&lazy), waiter(&lazy));
    let lease = Guard::detach(guard);
    assert!(poll_once(second.as_mut()).is_pending(), "it is the first one's turn");
    let Some(Ok(guard)) = ready(first.as_mut()) else { panic!("the first one has to wait") };
    assert_eq!(guard.id(), 1);
    drop(guard);
    assert!(poll_once(second.as_mut()).is_ready());
    drop(lease);
}

fn ready<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match poll_once(future) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_of_a_wait_holds_after_a_turn_that_was_missed() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut asleep = waiter(&lazy);
    drop(guard);
    advance(Duration::from_secs(1)).await;
    let guard = lazy.try_get().unwrap();
    let mut other = pin!(lazy.get());
    assert!(poll_once(other.as_mut()).is_pending());
    assert!(poll_once(asleep.as_mut()).is_pending());
    let began = Instant::now();
    assert!(bounded(asleep).await.unwrap_err().is_timeout());
    // It has waited for a second already. It was overtaken since then, and not served.
    assert_eq!(began.elapsed().as_secs(), 4);
    drop(guard);
}

/// The fault: a task that called `try_get` in a loop took the handle before each turn of the waiter, and the deadline of
/// the waiter began again with each of these loans, so it waited without a limit.
#[tokio::test(start_paused = true)]
async fn waiter_that_is_overtaken_by_try_get_keeps_its_deadline() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let began = Instant::now();
    let first = tokio::spawn(lazy.get());
    let greedy = lazy.clone();
    let greedy = tokio::spawn(async move {
        let mut guard = guard;
        loop {
            sleep(Duration::from_millis(100)).await;
            drop(guard);
            guard = greedy.try_get().unwrap();
        }
    });
    sleep(Duration::from_secs(1)).await;
    let waiters = [first, tokio::spawn(lazy.get())];
    let mut waited = Vec::new();
    for waiter in waiters {
        let error = bounded(waiter).await.unwrap().unwrap_err();
        assert!(error.is_timeout() && error.holder().is_some(), "{error}");
        waited.push(began.elapsed().as_secs());
    }
    // The second one has the usual time from the moment on at which it is the next.
    assert_eq!(waited, [5, 10]);
    greedy.abort();
}
