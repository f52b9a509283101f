//! Dropping a handle is the ordinary way back: it costs a look at the handle, and what it leaves open is proved before the
//! next user gets it (L14), never on the dropping thread (L15).

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use reqscope::pool::Reset;
use reqscope::{Exit, Health, Pool};
use reqscope_testkit::{Outcome, Probe, Verb, expect_panic, poll_once};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::rig::Rig;
use crate::support::{bounded, runtime, settle};

/// A pool of one whose handles answer this when they are probed.
fn rig(health: Health) -> Rig {
    let rig = Rig::new(1);
    rig.probe.set_health(health);
    rig
}

fn validations(rig: &Rig) -> u64 {
    rig.probe.on(Verb::Validate).calls()
}

/// The fault, here and in the next: the drop boxed a validation and spawned it as a task, which held the slot meanwhile.
#[tokio::test(start_paused = true)]
async fn dropped_handle_is_idle_at_once() {
    for health in [Health::Clean, Health::Ready, Health::Unknown] {
        let rig = rig(health);
        drop(rig.take().await);
        assert_eq!((rig.counts(), validations(&rig)), ([0, 1, 0, 0, 0], 0), "{health:?}");
        settle().await;
        assert_eq!((rig.counts(), validations(&rig)), ([0, 1, 0, 0, 0], 0), "{health:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_handle_spawns_no_task() {
    for health in [Health::Ready, Health::Unknown] {
        let rig = rig(health);
        let handle = rig.take().await;
        settle().await;
        let before = Handle::current().metrics().num_alive_tasks();
        drop(handle);
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before, "{health:?}");
    }
}

/// The fault: no task could be spawned, so the handle was retired.
#[test]
fn handle_dropped_without_a_runtime_stays_in_the_pool() {
    for health in [Health::Ready, Health::Unknown] {
        let (rig, runtime) = (rig(health), runtime());
        drop(runtime.block_on(rig.take()));
        assert_eq!(rig.counts(), [0, 1, 0, 0, 0], "{health:?}");
        assert_eq!(runtime.block_on(rig.take()).id(), 0, "{health:?}");
    }
}

/// The next caller polls the validation, and is served in its first poll if that is enough.
#[tokio::test(start_paused = true)]
async fn dropped_handle_is_validated_by_its_next_check_out() {
    for health in [Health::Ready, Health::Unknown] {
        let rig = rig(health);
        drop(rig.take().await);
        let Poll::Ready(Ok(next)) = poll_once(pin!(rig.pool.get())) else { panic!("it has to wait") };
        assert_eq!((next.id(), validations(&rig)), (0, 1), "{health:?}");
        rig.pool.put(next);
        rig.finish(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pending_validation_of_a_check_out_goes_on_with_it() {
    let rig = rig(Health::Unknown);
    drop(rig.take().await);
    rig.probe.on(Verb::Validate).close();
    let mut get = rig.waiter();
    settle().await;
    assert!(poll_once(get.as_mut()).is_pending());
    assert_eq!((rig.counts()[0], validations(&rig)), (1, 1));
    rig.probe.on(Verb::Validate).ok();
    assert_eq!(bounded(get).await.unwrap().id(), 0);
}

/// One validation proves it until the next drop.
#[tokio::test(start_paused = true)]
async fn validated_handle_that_is_put_back_is_proved() {
    let rig = rig(Health::Ready);
    drop(rig.take().await);
    for _ in 0..3 {
        rig.pool.put(rig.take().await);
    }
    assert_eq!(validations(&rig), 1);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_handle_that_fails_its_validation_is_replaced() {
    for outcome in [Outcome::error(), Outcome::panic(), Outcome::never()] {
        let rig = rig(Health::Unknown);
        // It was sound once, so the failure says nothing about new handles.
        rig.pool.put(rig.take().await);
        drop(rig.take().await);
        rig.probe.on(Verb::Validate).next(outcome);
        let next = rig.take().await;
        assert_eq!((next.id(), rig.probe.record(0).exits), (1, vec![Exit::Cancelled]));
        rig.pool.put(next);
        rig.finish(0).await;
    }
}

/// The fault: a handle that its last use had left open was no sign for the others, so behind a black hole each of them
/// cost one timeout after the other.
#[tokio::test(start_paused = true)]
async fn dead_handles_that_were_dropped_cost_two_timeouts() {
    let rig = Rig::configured(Probe::new(), |pool| pool.max_size(10).validate_timeout(Duration::from_millis(100)));
    rig.probe.set_health(Health::Unknown);
    drop(rig.take_all(10).await);
    for _ in 0..10 {
        rig.probe.on(Verb::Validate).next(Outcome::never());
    }
    let begun = Instant::now();
    let next = rig.take().await;
    assert!(begun.elapsed() <= Duration::from_millis(250), "{:?}", begun.elapsed());
    assert_eq!((next.id(), validations(&rig)), (10, 10));
}

/// What a cut use leaves behind says nothing about the others.
#[tokio::test(start_paused = true)]
async fn handle_that_was_cut_has_no_others_validated() {
    let rig = Rig::new(2);
    rig.probe.set_health(Health::Unknown);
    let (first, second) = (rig.take().await, rig.take().await);
    drop(first);
    rig.probe.on(Verb::Validate).next(Outcome::error());
    expect_panic(move || {
        let _unwinds = second;
        panic!("the handler panics")
    });
    settle().await;
    assert_eq!((rig.counts(), validations(&rig)), ([0, 1, 0, 0, 0], 1));
}

/// No task may need the slot: it goes to the waiter, which validates.
#[tokio::test(start_paused = true)]
async fn dropped_handle_is_granted_to_the_waiter_unproved() {
    let rig = rig(Health::Ready);
    let held = rig.take().await;
    let mut waiter = rig.waiter();
    drop(held);
    assert_eq!(validations(&rig), 0, "validated by the drop");
    let Poll::Ready(Ok(next)) = poll_once(waiter.as_mut()) else { panic!("it waits on") };
    assert_eq!((next.id(), validations(&rig)), (0, 1));
    rig.pool.put(next);
    rig.finish(0).await;
}

/// It may be the last waiter, so the handle must not be lost with it.
#[tokio::test(start_paused = true)]
async fn unproved_grant_that_is_dropped_stays_unproved() {
    let rig = rig(Health::Ready);
    let held = rig.take().await;
    let waiter = rig.waiter();
    drop(held);
    drop(waiter);
    settle().await;
    assert_eq!((rig.counts(), validations(&rig)), ([0, 1, 0, 0, 0], 0));
    let next = rig.take().await;
    assert_eq!((next.id(), validations(&rig)), (0, 1));
    rig.pool.put(next);
    rig.finish(0).await;
}

/// L14: no shortcut lends it.
#[tokio::test(start_paused = true)]
async fn try_get_lends_no_dropped_handle_unproved() {
    let rig = rig(Health::Ready);
    drop(rig.take().await);
    if let Some(handle) = rig.pool.try_get() {
        assert_eq!(validations(&rig), 1);
        rig.pool.put(handle);
    }
    rig.finish(0).await;
}

/// The fault: `put` validated it too, and held its slot meanwhile. A ported manager without `probe` paid a validation for
/// each use.
#[tokio::test(start_paused = true)]
async fn handle_of_unknown_health_is_put_back_idle() {
    let rig = rig(Health::Unknown);
    rig.pool.put(rig.take().await);
    assert_eq!((rig.counts(), validations(&rig)), ([0, 1, 0, 0, 0], 0));
    settle().await;
    assert_eq!((rig.counts(), validations(&rig)), ([0, 1, 0, 0, 0], 0));
    let next = rig.take().await;
    assert_eq!((next.id(), validations(&rig)), (0, 1));
    rig.pool.put(next);
    rig.finish(0).await;
}

/// Asserts that the handle is validated before any caller asks for it, but not by the thread that returned it.
async fn is_validated_in_a_task(rig: Rig, give_back: impl FnOnce(reqscope::Pooled<Probe>)) {
    let handle = rig.take().await;
    give_back(handle);
    assert_eq!((validations(&rig), rig.counts()), (0, [1, 0, 0, 0, 0]));
    settle().await;
    assert_eq!((validations(&rig), rig.counts()), (1, [0, 1, 0, 0, 0]));
    let next = rig.take().await;
    assert_eq!((next.id(), validations(&rig)), (0, 1));
    rig.pool.put(next);
    settle().await;
    rig.finish(0).await;
}

/// It may hold locks on the server.
#[tokio::test(start_paused = true)]
async fn handle_dropped_while_unwinding_is_validated_in_a_task() {
    for health in [Health::Ready, Health::Unknown] {
        is_validated_in_a_task(rig(health), |handle| {
            expect_panic(|| {
                let _held = handle;
                panic!("in the middle of its use");
            });
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn handle_dropped_with_reset_always_is_validated_in_a_task() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).reset(Reset::Always));
    is_validated_in_a_task(rig, drop).await;
}

/// What is left may hold locks on the server.
#[tokio::test(start_paused = true)]
async fn dirty_handle_is_validated_in_a_task() {
    let rig = rig(Health::Ready);
    let probe = rig.probe.clone();
    is_validated_in_a_task(rig, |handle| {
        probe.set_health(Health::Dirty);
        drop(handle);
        probe.set_health(Health::Ready);
    })
    .await;
}

/// As a drop, but it may begin the validation at once.
#[tokio::test(start_paused = true)]
async fn dirty_handle_that_is_put_back_is_validated_at_once() {
    let rig = rig(Health::Ready);
    let handle = rig.take().await;
    rig.probe.set_health(Health::Dirty);
    rig.pool.put(handle);
    rig.probe.set_health(Health::Ready);
    settle().await;
    assert_eq!((validations(&rig), rig.counts()), (1, [0, 1, 0, 0, 0]));
    let next = rig.take().await;
    assert_eq!((next.id(), validations(&rig)), (0, 1));
    rig.pool.put(next);
    rig.finish(0).await;
}

/// The resource knows that no user has left anything.
#[tokio::test(start_paused = true)]
async fn clean_handle_is_proved_although_it_was_dropped() {
    let rig = rig(Health::Clean);
    for _ in 0..3 {
        drop(rig.take().await);
        assert_eq!(rig.counts(), [0, 1, 0, 0, 0]);
    }
    let handle = rig.pool.try_get().expect("it is proved");
    assert_eq!((handle.id(), validations(&rig)), (0, 0));
    rig.pool.put(handle);
    rig.finish(0).await;
}

/// A code that unwinds may have left anything, whatever the handle knows.
#[tokio::test(start_paused = true)]
async fn clean_handle_dropped_while_unwinding_is_validated() {
    is_validated_in_a_task(rig(Health::Clean), |handle| {
        expect_panic(|| {
            let _held = handle;
            panic!("in the middle of its use");
        });
    })
    .await;
}

/// Idle for too long, the connection may be gone.
#[tokio::test(start_paused = true)]
async fn clean_handle_is_validated_after_a_long_pause() {
    let rig = rig(Health::Clean);
    drop(rig.take().await);
    sleep(Duration::from_secs(10)).await;
    let next = rig.take().await;
    assert_eq!((next.id(), validations(&rig)), (0, 1));
    rig.pool.put(next);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_dead_handle_is_released() {
    let rig = rig(Health::Ready);
    let mut handle = rig.take().await;
    handle.kill();
    drop(handle);
    settle().await;
    assert_eq!((validations(&rig), rig.counts()), (0, [0; 5]));
    assert_eq!(rig.probe.record(0).exits, [Exit::Cancelled]);
    rig.finish(0).await;
}

/// The verbs never run on a thread that drops: it may hold any lock of the program.
#[tokio::test(start_paused = true)]
async fn drop_of_a_handle_runs_no_verb() {
    for health in [Health::Clean, Health::Ready, Health::Unknown, Health::Dirty, Health::Dead] {
        for reset in [Reset::AfterDoubt, Reset::Always] {
            let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).reset(reset));
            let handle = rig.take().await;
            rig.probe.set_health(health);
            drop(handle);
            let calls = [Verb::Validate, Verb::Release].map(|verb| rig.probe.on(verb).calls());
            assert_eq!(calls, [0, 0], "{health:?} {reset:?}");
            rig.probe.set_health(Health::Ready);
            settle().await;
            rig.finish(0).await;
        }
    }
}

/// As a handle that was put back, it is retired when it is too old.
#[tokio::test(start_paused = true)]
async fn dropped_handle_that_is_too_old_is_retired() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).max_lifetime(Duration::from_secs(10)));
    let handle = rig.take().await;
    sleep(Duration::from_secs(11)).await;
    drop(handle);
    settle().await;
    assert_eq!((rig.counts(), rig.pool.status().retired), ([0; 5], 1));
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_handle_of_a_cleared_or_closed_pool_is_retired() {
    let rig = Rig::new(2);
    let [first, second] = <[_; 2]>::try_from(rig.take_all(2).await).unwrap();
    rig.pool.clear();
    drop(first);
    settle().await;
    assert_eq!(rig.counts(), [1, 0, 0, 0, 0]);
    let close = rig.pool.close(Duration::from_secs(1));
    drop(second);
    assert!(bounded(close).await.is_clean());
    rig.assert_balanced(0);
}

/// A dropped use counts as a use.
#[tokio::test(start_paused = true)]
async fn dropped_handle_is_retired_after_max_uses() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).max_uses(2));
    let mut used = Vec::new();
    for _ in 0..4 {
        let handle = rig.take().await;
        used.push(handle.id());
        drop(handle);
        settle().await;
    }
    assert_eq!(used, [0, 0, 1, 1]);
    rig.finish(0).await;
}

/// Callers that only drop are served one after another without any task of the pool.
#[tokio::test(start_paused = true)]
async fn callers_that_only_drop_share_the_handles_in_order() {
    let rig = rig(Health::Unknown);
    let began = Instant::now();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let pool: std::sync::Arc<Pool<Probe>> = rig.pool.clone();
            tokio::spawn(async move {
                let handle = pool.get().await.unwrap();
                tokio::task::yield_now().await;
                drop(handle);
            })
        })
        .collect();
    for caller in callers {
        bounded(caller).await.unwrap();
    }
    assert_eq!((rig.probe.counts().acquired, validations(&rig)), (1, 49));
    assert_eq!(began.elapsed(), Duration::ZERO);
    rig.finish(0).await;
}
