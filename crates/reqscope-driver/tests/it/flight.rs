//! An operation counts from its first poll to its end, and forever if it has none.

use std::future::{pending, ready};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use reqscope_driver::Flight;
use reqscope_testkit::{expect_panic, poll_once};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn operation_is_in_flight_until_it_ends() {
    let flight = Flight::new();
    let (answer, answered) = oneshot::channel();
    {
        let mut operation = pin!(flight.run(SECOND, answered));
        assert!(flight.is_clear(), "it was not polled");
        assert!(poll_once(operation.as_mut()).is_pending());
        assert!(!flight.is_clear());
        answer.send(7).unwrap();
        assert_eq!(poll_once(operation), Poll::Ready(Ok(Ok(7))));
    }
    assert!(flight.is_clear());
}

#[tokio::test(start_paused = true)]
async fn operation_that_was_never_polled_was_not_cut() {
    let flight = Flight::new();
    drop(flight.run(SECOND, ready(())));
    assert!(flight.is_clear());
}

#[tokio::test(start_paused = true)]
async fn dropped_or_forgotten_operation_stays_in_flight() {
    for forgotten in [false, true] {
        let flight: &'static Flight = Box::leak(Box::default());
        let mut operation = Box::pin(flight.run(SECOND, pending::<()>()));
        assert!(poll_once(operation.as_mut()).is_pending());
        if forgotten {
            mem::forget(operation)
        } else {
            drop(operation)
        }
        assert!(!flight.is_clear());
    }
}

#[tokio::test(start_paused = true)]
async fn late_operation_stays_in_flight() {
    let flight = Flight::new();
    let late = flight.run(SECOND, pending::<()>()).await.unwrap_err();
    assert_eq!((late.limit(), late.to_string()), (SECOND, "the operation took longer than 1s".to_owned()));
    assert!(!flight.is_clear());
}

#[test]
fn operation_that_panics_stays_in_flight() {
    let flight = Flight::new();
    let panicked = expect_panic(|| poll_once(pin!(flight.run(None, async { panic!("in the driver") }))));
    assert_eq!(panicked, "in the driver");
    assert!(!flight.is_clear());
}

#[tokio::test(start_paused = true)]
async fn connection_is_clear_when_the_last_of_several_has_ended() {
    let flight = Flight::new();
    let slow = async {
        flight.run(9 * SECOND, sleep(2 * SECOND)).await.unwrap();
        assert!(flight.is_clear());
    };
    let quick = async {
        flight.run(9 * SECOND, sleep(SECOND)).await.unwrap();
        assert!(!flight.is_clear());
    };
    tokio::join!(slow, quick);
}

#[test]
fn mark_that_is_dropped_stays_until_the_reset() {
    let mut flight = Flight::new();
    let first = flight.mark();
    flight.mark().clear();
    assert!(!flight.is_clear());
    first.clear();
    assert!(flight.is_clear());
    drop(flight.mark());
    assert!(!flight.is_clear());
    flight.reset();
    assert!(flight.is_clear());
}

/// Its timer is the one of the operation before, set to an earlier or a later time.
#[tokio::test(start_paused = true)]
async fn each_operation_has_its_own_limit() {
    let flight = Flight::new();
    for (first, second) in [(10, 10), (10, 2), (2, 10)] {
        flight.run(first * SECOND, sleep(SECOND)).await.unwrap();
        let began = Instant::now();
        flight.run(second * SECOND, pending::<()>()).await.unwrap_err();
        let took = began.elapsed();
        assert!((second * SECOND..=second * SECOND + SECOND / 100).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn extreme_limits_mean_what_they_say() {
    let flight = Flight::new();
    flight.run(Duration::MAX, sleep(1_000_000 * SECOND)).await.unwrap();
    flight.run(None, sleep(1_000_000 * SECOND)).await.unwrap();
    flight.run(Duration::ZERO, ready(())).await.unwrap();
    flight.run(Duration::ZERO, yield_now()).await.unwrap_err();
}

/// The limit of an operation that uses up the budget of its task in each poll.
#[tokio::test(start_paused = true)]
async fn busy_operation_misses_its_limit() {
    let busy = async {
        loop {
            tokio::task::consume_budget().await;
        }
    };
    let flight = Flight::new();
    let late = async {
        flight.run(SECOND, busy).await.unwrap_err();
    };
    let clock = async {
        loop {
            advance(SECOND).await;
        }
    };
    tokio::select! {
        () = late => {}
        () = clock => {}
    }
}

/// The timer that the operation before has left is on a runtime that is not driven any more.
#[test]
fn limit_passes_on_the_runtime_of_its_operation() {
    let [first, second] = [(); 2].map(|()| Builder::new_current_thread().enable_time().build().unwrap());
    let flight = Flight::new();
    first.block_on(flight.run(SECOND, yield_now())).unwrap();
    second.block_on(flight.run(SECOND / 100, pending::<()>())).unwrap_err();
    drop(first);
    second.block_on(flight.run(SECOND / 100, pending::<()>())).unwrap_err();
}

/// It began on a runtime that is not driven any more.
#[test]
fn limit_passes_after_a_move_to_another_runtime() {
    let [first, second] = [(); 2].map(|()| Builder::new_current_thread().enable_time().build().unwrap());
    let flight = Flight::new();
    let mut operation = Box::pin(flight.run(SECOND / 100, pending::<()>()));
    first.block_on(async { assert!(poll_once(operation.as_mut()).is_pending()) });
    let ended = second.block_on(async { tokio::time::timeout(30 * SECOND, operation).await });
    ended.expect("the limit has passed").unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn ended_operation_keeps_no_task() {
    struct Task;
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
    let (flight, task) = (Flight::new(), Arc::new(Task));
    let waker = Waker::from(Arc::clone(&task));
    let mut operation = Box::pin(flight.run(SECOND, yield_now()));
    assert!(operation.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    while operation.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        yield_now().await;
    }
    drop(operation);
    drop(waker);
    yield_now().await;
    assert_eq!(Arc::strong_count(&task), 1);
}
