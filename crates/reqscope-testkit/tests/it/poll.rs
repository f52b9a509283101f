use std::pin::pin;
use std::time::Duration;

use reqscope_testkit::{Gate, cancel_at, expect_panic, poll_once, until};
use tokio::runtime::Builder;

#[tokio::test]
async fn cancel_at_polls_exactly_that_often() {
    let gate = Gate::open();
    assert_eq!(cancel_at(0, gate.pass()).await.map(drop), None);
    assert_eq!(gate.calls(), 0, "at 0 the future is not polled");
    for polls in 1..=3 {
        gate.slow(3);
        assert!(cancel_at(polls, gate.pass()).await.is_none(), "cancelled at poll {polls}");
    }
    gate.slow(3);
    assert!(cancel_at(4, gate.pass()).await.is_some());
}

#[test]
fn cancel_at_cancels_in_the_last_poll() {
    let gate = Gate::closed();
    {
        let mut cut = pin!(cancel_at(1, gate.pass()));
        assert!(poll_once(cut.as_mut()).is_ready());
    }
    assert_eq!(gate.waiting(), 0);
}

#[test]
fn until_panics_with_the_line_of_its_caller() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (until, line) = (|| until(Duration::from_secs(5), || false), line!());
    let message = expect_panic(|| runtime.block_on(until()));
    assert!(message.contains(&format!("poll.rs:{line}:")), "{message}");
}

#[tokio::test(start_paused = true)]
async fn until_lets_the_clock_advance() {
    let began = tokio::time::Instant::now();
    until(Duration::from_secs(5), || began.elapsed() >= Duration::from_millis(20)).await;
    assert!(began.elapsed() < Duration::from_millis(22));
}
