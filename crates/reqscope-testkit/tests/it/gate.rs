use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use reqscope_testkit::{Gate, Outcome, Wakes, expect_panic, poll_n, poll_once};
use tokio::time::Instant;

#[test]
fn outcomes_are_played_in_order() {
    let gate = Gate::open();
    gate.error().ok().slow(2).next(Outcome::error().after_polls(1)).next(Outcome::permanent());
    assert!(matches!(poll_once(pin!(gate.pass())), Poll::Ready(Err(error)) if !error.is_permanent()));
    assert!(matches!(poll_once(pin!(gate.pass())), Poll::Ready(Ok(()))));
    let mut slow = pin!(gate.pass());
    assert!(poll_n(2, slow.as_mut()).is_pending());
    assert!(matches!(poll_once(slow), Poll::Ready(Ok(()))));
    let mut slow_error = pin!(gate.pass());
    assert!(poll_once(slow_error.as_mut()).is_pending());
    assert!(matches!(poll_once(slow_error), Poll::Ready(Err(_))));
    assert!(matches!(poll_once(pin!(gate.pass())), Poll::Ready(Err(error)) if error.is_permanent()));
    assert!(matches!(poll_once(pin!(gate.pass())), Poll::Ready(Ok(()))), "the script is empty, the gate is open");
    assert_eq!(gate.calls(), 6);
}

#[test]
fn call_that_never_ends_can_only_be_dropped() {
    let gate = Gate::open();
    gate.never();
    assert!(poll_n(100, pin!(gate.pass())).is_pending());
    assert!(poll_once(pin!(gate.pass())).is_ready());
}

#[test]
fn scripted_panic_panics() {
    let gate = Gate::closed();
    gate.panic();
    assert_eq!(expect_panic(|| poll_once(pin!(gate.pass()))), "scripted panic");
}

#[test]
fn outcome_given_by_hand_wakes_the_oldest_waiter() {
    let gate = Gate::closed();
    let (old, young) = (Wakes::new(), Wakes::new());
    let mut first = pin!(gate.pass());
    let mut second = pin!(gate.pass());
    assert!(first.as_mut().poll(&mut Context::from_waker(&old.waker())).is_pending());
    assert!(second.as_mut().poll(&mut Context::from_waker(&young.waker())).is_pending());
    assert_eq!(gate.waiting(), 2);
    gate.ok();
    assert_eq!((old.count(), young.count()), (1, 0));
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(first).is_ready());
    gate.always(Outcome::ok());
    assert_eq!(young.count(), 0, "the poll above has replaced the waker");
    assert!(poll_once(second).is_ready());
    assert_eq!(gate.waiting(), 0);
}

#[test]
fn unseen_outcome_goes_to_the_next_call() {
    let gate = Gate::closed();
    let wakes = Wakes::new();
    {
        let mut first = pin!(gate.pass());
        assert!(poll_once(first.as_mut()).is_pending());
        gate.error();
    }
    gate.ok();
    assert!(matches!(poll_once(pin!(gate.pass())), Poll::Ready(Err(_))), "it returned to the head of the script");
    assert!(matches!(poll_once(pin!(gate.pass())), Poll::Ready(Ok(()))));

    let mut second = pin!(gate.pass());
    {
        let mut first = pin!(gate.pass());
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(second.as_mut().poll(&mut Context::from_waker(&wakes.waker())).is_pending());
        gate.error();
    }
    assert_eq!(wakes.count(), 1, "it went to the next waiter");
    assert!(matches!(poll_once(second), Poll::Ready(Err(_))));
}

#[test]
fn gate_closed_again_stops_the_next_call() {
    let gate = Gate::open();
    assert!(poll_once(pin!(gate.pass())).is_ready());
    gate.close();
    assert!(poll_once(pin!(gate.pass())).is_pending());
}

#[tokio::test(start_paused = true)]
async fn delay_uses_the_paused_clock() {
    let gate = Gate::open();
    gate.next(Outcome::error().after(Duration::from_secs(3600)));
    let began = Instant::now();
    assert!(gate.pass().await.is_err());
    assert_eq!(began.elapsed().as_secs(), 3600);
}
