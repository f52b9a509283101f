//! Crowds of waiters on a runtime with threads: the laws hold there too.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use reqscope::Pooled;
use reqscope::pool::PoolBuilder;
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::rig::{Rig, Waiter};
use crate::support::{bounded, runtime, settle};

const CROWD: usize = 100;

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Creates a pool of one handle, whose validations and releases no machine is too slow for.
fn of_one(configure: impl FnOnce(PoolBuilder<Probe>) -> PoolBuilder<Probe>) -> Rig {
    let long = Duration::from_secs(600);
    Rig::configured(Probe::new(), |builder| {
        configure(builder.max_size(1).validate_timeout(long).release_timeout(long))
    })
}

/// Begins so many `get`s, in order, while the handle is lent.
fn crowd(rig: &Rig, runtime: &Runtime) -> Vec<Waiter> {
    (0..CROWD).map(|_| rig.waiter_on(runtime)).collect()
}

/// Polls all waiters once. Returns the handles of those that were served, with their indices.
fn served(waiters: &mut [Waiter]) -> Vec<(usize, Pooled<Probe>)> {
    let poll = |(index, waiter): (usize, &mut Waiter)| match poll_once(waiter.as_mut()) {
        Poll::Ready(outcome) => Some((index, outcome.unwrap())),
        Poll::Pending => None,
    };
    waiters.iter_mut().enumerate().filter_map(poll).collect()
}

async fn end(rig: Rig) {
    let report = rig.pool.close(Duration::from_secs(60)).await;
    assert!(report.is_clean(), "{report:?}");
    rig.assert_balanced(0);
}

#[test]
fn crowd_is_served_in_order_of_arrival() {
    let (rig, threads) = (of_one(|builder| builder), threads());
    threads.block_on(async {
        let mut held = rig.take().await;
        let mut waiters = crowd(&rig, &threads);
        for _ in 0..CROWD {
            rig.pool.put(held);
            let mut served = served(&mut waiters);
            assert_eq!(served.len(), 1);
            let (index, handle) = served.remove(0);
            assert_eq!(index, 0, "a waiter was passed over");
            drop(waiters.remove(0));
            held = handle;
        }
        rig.pool.put(held);
        assert_eq!(rig.pool.status().waits, 1 + CROWD as u64);
        end(rig).await;
    });
}

#[test]
fn unserved_waiters_fail_after_the_timeout_and_not_before() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let (rig, threads) = (of_one(|builder| builder.acquire_timeout(TIMEOUT)), threads());
    threads.block_on(async {
        let held = rig.take().await;
        let mut callers = JoinSet::new();
        for _ in 0..CROWD {
            let pool = rig.pool.clone();
            callers.spawn(async move {
                let begun = Instant::now();
                let error = pool.get().await.unwrap_err();
                (error.is_timeout(), begun.elapsed())
            });
        }
        for (is_timeout, waited) in bounded(callers.join_all()).await {
            // How late they are depends on the load of the machine.
            assert!(is_timeout && waited >= TIMEOUT, "{waited:?}");
        }
        assert_eq!(rig.pool.status().timeouts, CROWD as u64);
        rig.pool.put(held);
        end(rig).await;
    });
}

#[test]
fn waiter_leaving_a_crowd_passes_on_its_grant() {
    let (rig, threads) = (of_one(|builder| builder), threads());
    threads.block_on(async {
        let held = rig.take().await;
        let mut waiters = crowd(&rig, &threads);
        let last = waiters.pop().unwrap();
        rig.pool.put(held);
        // The first waiter was granted the handle and drops without a poll. So does each of the others in turn.
        drop(waiters);
        rig.pool.put(bounded(last).await.unwrap());
        assert_eq!(rig.probe.counts().acquired, 1, "the same handle");
        end(rig).await;
    });
}

/// Lets a queue begin on one runtime and grow on another one, and then ends or stops the first. All callers on the
/// second must time out.
fn outlive(there: Runtime, end: impl FnOnce(Runtime) -> Option<Runtime>) {
    let (rig, here) = (of_one(|builder| builder.max_waiters(2 * CROWD)), runtime());
    let held = there.block_on(rig.take());
    let _there = crowd(&rig, &there);
    let callers = here.block_on(async {
        let pool = || rig.pool.clone();
        let callers: JoinSet<_> = (0..CROWD).map(|_| pool()).map(async |pool| pool.get().await).collect();
        settle().await;
        callers
    });
    let _there = end(there);
    here.block_on(async {
        for outcome in bounded(callers.join_all()).await {
            assert!(outcome.unwrap_err().is_timeout());
        }
        rig.pool.put(held);
    });
}

#[test]
fn timeouts_survive_the_end_of_another_runtime() {
    outlive(threads(), |runtime| {
        drop(runtime);
        None
    });
}

#[test]
fn stopped_runtime_delays_no_waiter_on_another() {
    outlive(runtime(), Some);
}

#[test]
fn freed_slot_in_a_crowd_is_filled_again() {
    let (rig, threads) = (of_one(|builder| builder), threads());
    threads.block_on(async {
        let held = rig.take().await;
        let mut waiters = crowd(&rig, &threads);
        let last = waiters.split_off(CROWD - 2);
        drop(waiters);
        // Its validation fails.
        rig.probe.on(Verb::Validate).next(Outcome::error());
        drop(held);
        for waiter in last {
            rig.pool.put(bounded(waiter).await.unwrap());
        }
        assert_eq!(rig.probe.counts().acquired, 2);
        end(rig).await;
    });
}

#[test]
fn close_pause_and_resize_reach_a_crowd() {
    let (rig, threads) = (of_one(|builder| builder), threads());
    threads.block_on(async {
        let held = rig.take().await;
        let mut waiters = crowd(&rig, &threads);
        rig.pool.resize(2);
        let grown = bounded(waiters.remove(0)).await.unwrap();
        rig.pool.pause();
        rig.put_all([held, grown]);
        assert!(served(&mut waiters).is_empty(), "lent while it is paused");
        rig.pool.resume();
        let lent = served(&mut waiters);
        assert_eq!(lent.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
        drop(waiters.drain(..2));
        let close = end(rig);
        let mut close = pin!(close);
        assert!(poll_once(close.as_mut()).is_pending(), "two handles are lent");
        for waiter in waiters {
            assert!(bounded(waiter).await.unwrap_err().is_closed());
        }
        drop(lent);
        close.await;
    });
}

#[test]
fn crowd_is_bounded_by_max_waiters() {
    let (rig, threads) = (of_one(|builder| builder.max_waiters(CROWD)), threads());
    threads.block_on(async {
        let held = rig.take().await;
        let waiters = crowd(&rig, &threads);
        assert!(bounded(rig.pool.get()).await.unwrap_err().is_exhausted());
        drop(waiters);
        rig.pool.put(held);
        end(rig).await;
    });
}
