//! Every waiter keeps its own deadline (L12), whatever the other waiters, tasks and runtimes do.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use reqscope::error::Stage;
use reqscope::{Pooled, Scopes};
use reqscope_testkit::{Probe, Verb, poll_once};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use super::rig::{Rig, Waiter};
use crate::support::{bounded, real_time_runtime, runtime, settle};

const SECOND: Duration = Duration::from_secs(1);
/// How late a timer of tokio may be.
const RESOLUTION: Duration = Duration::from_millis(2);

fn of_one(timeout: Duration) -> Rig {
    Rig::configured(Probe::new(), |builder| builder.max_size(1).acquire_timeout(timeout).max_waiters(1000))
}

/// A runtime whose only worker can be kept busy.
fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

/// Asserts that the time is over to the resolution of a timer.
fn assert_is(elapsed: Duration, expected: Duration) {
    assert!((expected..=expected + RESOLUTION).contains(&elapsed), "{elapsed:?} instead of {expected:?}");
}

/// No timer fires while the thread is blocked, and the poll itself looks at the clock.
#[test]
fn crowd_polled_after_its_deadline_waits_no_longer() {
    let timeout = Duration::from_millis(20);
    real_time_runtime().block_on(async {
        let rig = of_one(timeout);
        let _held = rig.take().await;
        let waiters: Vec<Waiter> = (0..3).map(|_| rig.waiter()).collect();
        settle().await;
        std::thread::sleep(2 * timeout);
        for mut waiter in waiters {
            let Poll::Ready(Err(error)) = poll_once(waiter.as_mut()) else { panic!("it waits on") };
            assert!(error.is_timeout(), "{error}");
        }
    });
}

/// The timers of the line began on a runtime that is not driven any more.
#[test]
fn waiter_beside_a_crowd_on_an_undriven_runtime_is_on_time() {
    let (still, live, rig) = (runtime(), runtime(), of_one(SECOND));
    let _held = live.block_on(rig.take());
    let _crowd: Vec<Waiter> = (0..3).map(|_| rig.waiter_on(&still)).collect();
    live.block_on(async {
        let began = Instant::now();
        assert!(bounded(rig.waiter()).await.unwrap_err().is_timeout());
        assert_is(began.elapsed(), SECOND);
    });
}

/// The fault: beyond the first waiter, a task of the pool kept the deadlines of all, on the runtime of the second one.
/// While the workers of that runtime were busy, no other waiter was ever too late.
#[test]
fn waiter_beside_a_crowd_on_busy_workers_is_on_time() {
    let (busy, live, rig) = (threads(), runtime(), of_one(SECOND));
    let (release, released) = std::sync::mpsc::channel::<()>();
    drop(busy.spawn(async move { released.recv().unwrap_err() }));
    let _held = live.block_on(rig.take());
    let _crowd: Vec<Waiter> = (0..3).map(|_| rig.waiter_on(&busy)).collect();
    live.block_on(async {
        let (began, pool) = (Instant::now(), rig.pool.clone());
        let waiter = tokio::spawn(async move { pool.get().await });
        assert!(bounded(waiter).await.unwrap().unwrap_err().is_timeout());
        assert_is(began.elapsed(), SECOND);
    });
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn each_waiter_of_a_crowd_is_on_time() {
    let rig = of_one(SECOND);
    let held = rig.take().await;
    let mut callers = Vec::new();
    for _ in 0..20 {
        let waiter = rig.waiter();
        callers.push(tokio::spawn(async move {
            let began = Instant::now();
            assert!(waiter.await.unwrap_err().is_timeout());
            began.elapsed()
        }));
        sleep(Duration::from_millis(7)).await;
    }
    for caller in callers {
        let waited = bounded(caller).await.unwrap();
        assert!((SECOND - RESOLUTION..=SECOND + RESOLUTION).contains(&waited), "{waited:?}");
    }
    rig.pool.put(held);
    rig.finish(0).await;
}

/// The deadline of a request is earlier than that of the pool.
#[tokio::test(start_paused = true)]
async fn waiter_of_a_request_is_on_time_and_leaves_the_line() {
    let rig = of_one(30 * SECOND);
    let held = rig.take().await;
    let scopes = Scopes::new();
    let scope = scopes.open();
    scope.set_deadline((Instant::now() + SECOND).into_std());
    let began = Instant::now();
    let error = bounded(scope.lazy(&rig.pool).get()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_is(began.elapsed(), SECOND);
    settle().await;
    assert_eq!(rig.pool.status().waiting, 0);
    drop(scope);
    rig.pool.put(held);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn timeout_of_the_pool_before_the_requests_comes_first() {
    let rig = of_one(SECOND);
    let held = rig.take().await;
    let scopes = Scopes::new();
    let scope = scopes.open();
    scope.set_deadline((Instant::now() + 30 * SECOND).into_std());
    let began = Instant::now();
    let error = bounded(scope.lazy(&rig.pool).get()).await.unwrap_err();
    assert!(error.is_timeout() && error.shortage().is_some(), "{error}");
    assert_is(began.elapsed(), SECOND);
    drop(scope);
    rig.pool.put(held);
    rig.finish(0).await;
}

/// The validation may take longer than the caller waits. The fault: with the deadline of the caller removed from this
/// wait, no test failed.
#[tokio::test(start_paused = true)]
async fn caller_is_on_time_while_its_handle_is_validated() {
    let rig = Rig::configured(Probe::new(), |builder| {
        builder.max_size(1).acquire_timeout(SECOND).validate_after(SECOND).validate_timeout(60 * SECOND)
    });
    rig.fill(1).await;
    sleep(10 * SECOND).await;
    rig.probe.on(Verb::Validate).never();
    let began = Instant::now();
    let error = bounded(rig.pool.get()).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.stage(), Some(Stage::Validating), "{error}");
    assert_is(began.elapsed(), SECOND);
    assert_eq!(rig.pool.status().timeouts, 1);
    rig.finish(0).await;
}

/// The time of the validation and of the wait before it count together.
#[tokio::test(start_paused = true)]
async fn wait_and_validation_have_one_deadline_together() {
    let rig = Rig::configured(Probe::new(), |builder| {
        builder.max_size(1).acquire_timeout(2 * SECOND).validate_after(Duration::ZERO).validate_timeout(60 * SECOND)
    });
    let held = rig.take().await;
    let began = Instant::now();
    let waiter = tokio::spawn(rig.waiter());
    sleep(SECOND).await;
    rig.probe.on(Verb::Validate).always(reqscope_testkit::Outcome::never());
    rig.pool.pause();
    rig.pool.put(held);
    sleep(SECOND / 2).await;
    rig.pool.resume();
    assert!(bounded(waiter).await.unwrap().unwrap_err().is_timeout());
    assert_is(began.elapsed(), 2 * SECOND);
    rig.finish(0).await;
}

/// A step of the test below.
#[derive(Clone, Debug)]
enum Step {
    Join,
    /// Drops the waiter at this place among all that wait, served or not.
    Leave(prop::sample::Index),
    /// Returns the handle that was lent last.
    Return,
    /// Polls the waiter at this place, for nothing or for its handle.
    Poll(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Step::Join),
        3 => index().prop_map(Step::Leave),
        2 => Just(Step::Return),
        1 => index().prop_map(Step::Poll),
    ]
}

/// The line, beside a model of it: whose turn it is, in order.
struct Line {
    rig: Rig,
    waiters: Vec<(u64, Waiter)>,
    lent: Option<Pooled<Probe>>,
    /// The numbers of the waiters, in the order in which they are to be served.
    model: VecDeque<u64>,
    joined: u64,
}

impl Line {
    async fn new() -> Self {
        let rig = of_one(Duration::MAX);
        let lent = Some(rig.take().await);
        Line { rig, waiters: Vec::new(), lent, model: VecDeque::new(), joined: 0 }
    }

    fn play(&mut self, step: &Step) {
        let count = self.waiters.len();
        match step {
            Step::Join if self.lent.is_some() || count > 0 => {
                let waiter = self.rig.waiter();
                self.waiters.push((self.joined, waiter));
                self.model.push_back(self.joined);
                self.joined += 1;
            }
            Step::Leave(index) if count > 0 => {
                let (number, waiter) = self.waiters.remove(index.index(count));
                self.model.retain(|other| *other != number);
                drop(waiter);
            }
            Step::Return => self.rig.put_all(self.lent.take()),
            Step::Poll(index) if count > 0 => {
                let place = index.index(count);
                let (number, waiter) = &mut self.waiters[place];
                let is_next = self.lent.is_none() && self.model.front() == Some(number);
                match poll_once(waiter.as_mut()) {
                    Poll::Ready(outcome) => {
                        assert!(is_next, "waiter {number} was served before its turn: {:?}", self.model);
                        self.lent = Some(outcome.unwrap());
                        drop(self.waiters.remove(place));
                        self.model.pop_front();
                    }
                    Poll::Pending => assert!(!is_next, "waiter {number} was not served in its turn"),
                }
            }
            Step::Join | Step::Leave(_) | Step::Poll(_) => {}
        }
        assert!(self.rig.pool.status().in_use <= 1, "a slot too many");
    }

    /// Serves all that still wait, in order.
    async fn end(mut self) {
        self.rig.put_all(self.lent.take());
        while let Some(number) = self.model.pop_front() {
            let place = self.waiters.iter().position(|(other, _)| *other == number).unwrap();
            let (_, mut waiter) = self.waiters.remove(place);
            let Poll::Ready(outcome) = poll_once(waiter.as_mut()) else { panic!("waiter {number} was passed over") };
            self.rig.pool.put(outcome.unwrap());
            tokio::task::yield_now().await;
        }
        assert_eq!(self.rig.probe.counts().acquired, 1);
        self.rig.closes_clean(0).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn line_stays_in_order_when_waiters_leave(steps in prop::collection::vec(step(), 0..120)) {
        runtime().block_on(async {
            let mut line = Line::new().await;
            for step in &steps {
                line.play(step);
                tokio::task::yield_now().await;
            }
            line.end().await;
        });
    }
}

/// Waiters that leave in any order cost the others neither their turn nor a wake-up.
#[tokio::test(start_paused = true)]
async fn waiter_behind_a_thousand_that_left_is_served_at_once() {
    let rig = of_one(30 * SECOND);
    let held = rig.take().await;
    let mut crowd = rig.waiters(900).await;
    let last = rig.waiter();
    // Neither from the front nor from the back.
    while !crowd.is_empty() {
        drop(crowd.swap_remove(crowd.len() / 3));
    }
    assert_eq!(rig.pool.status().waiting, 1);
    rig.pool.put(held);
    rig.pool.put(bounded(last).await.unwrap());
    rig.finish(0).await;
}

/// The scope keeps the deadline, too, but only the pool knows what the caller has waited for.
#[tokio::test(start_paused = true)]
async fn error_at_the_requests_deadline_has_the_pools_figures() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let scope = Scopes::new().open();
    scope.set_deadline((Instant::now() + SECOND).into_std());
    let error = bounded(scope.lazy(&rig.pool).get()).await.unwrap_err();
    assert!(error.is_timeout() && error.shortage().is_some(), "{error}");
    rig.pool.put(held);
}
