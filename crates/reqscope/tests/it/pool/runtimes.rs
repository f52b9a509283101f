//! A pool belongs to no runtime: it serves one after another, and several at once.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;
use std::time::Duration;

use reqscope::{Exit, Health, Lease, Pool};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::advance;

use super::rig::Rig;
use crate::support::{bounded, during_shutdown, runtime, settle};

/// Plays creations, a wait in the queue, a validation and a release, each of which takes several polls.
async fn use_twice(rig: &Rig) {
    for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
        rig.probe.on(verb).slow(3);
    }
    let held = rig.take().await;
    let waiter = rig.waiter();
    drop(held);
    rig.pool.put(bounded(waiter).await.unwrap());
    rig.pool.clear();
    let lease = bounded(Lease::acquire(&rig.pool)).await.unwrap();
    bounded(Lease::end(lease, Exit::Completed)).await.unwrap();
}

#[test]
fn pool_serves_one_runtime_after_another() {
    let rig = Rig::new(1);
    for _ in 0..5 {
        runtime().block_on(use_twice(&rig));
        let held = runtime().block_on(rig.take());
        // Dropped outside of any runtime after its own has ended: it is validated by the next check-out.
        drop(held);
    }
    runtime().block_on(rig.finish(0));
}

#[test]
fn pool_serves_a_multi_thread_runtime_and_a_local_set() {
    let rig = Rig::new(1);
    let threads = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    threads.block_on(use_twice(&rig));
    drop(threads);
    runtime().block_on(async {
        let set = LocalSet::new();
        set.run_until(use_twice(&rig)).await;
        set.run_until(async { tokio::task::spawn_local(async { use_twice(&Rig::new(1)).await }).await.unwrap() })
            .await;
    });
    runtime().block_on(rig.finish(0));
}

/// A static pool, as in a test suite: the two tests below run on different runtimes. Their clocks run, because each may
/// wait for the other.
static SHARED: LazyLock<Pool<Probe>> = LazyLock::new(|| Pool::builder().max_size(1).build(Probe::new()));

#[tokio::test]
async fn static_pool_serves_one_test() {
    SHARED.put(bounded(SHARED.get()).await.unwrap());
}

#[tokio::test]
async fn static_pool_serves_another_test() {
    SHARED.put(bounded(SHARED.get()).await.unwrap());
}

#[test]
fn two_live_runtimes_share_a_pool() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    for _ in 0..5 {
        let held = first.block_on(rig.take());
        let waiter = rig.waiter_on(&second);
        first.block_on(async { rig.pool.put(held) });
        let held = second.block_on(waiter).unwrap();
        // Dropped outside of any runtime: it is validated on its own.
        drop(held);
        first.block_on(settle());
    }
    assert_eq!(rig.probe.counts().acquired, 1);
    drop((first, second));
    runtime().block_on(rig.finish(0));
}

#[test]
fn waiter_restarts_a_creation_lost_with_its_runtime() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    rig.probe.on(Verb::Acquire).never();
    let gone = rig.waiter_on(&first);
    let waiter = rig.waiter_on(&second);
    assert_eq!(rig.counts(), [0, 0, 1, 0, 2]);
    drop(gone);
    drop(first);
    assert_eq!(rig.counts(), [0, 0, 0, 0, 1]);
    second.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
    assert_eq!(rig.probe.counts().acquires_cut, 1);
    second.block_on(rig.finish(0));
}

/// While the breaker's probe is under way, no other creation may begin.
#[test]
fn probe_lost_with_its_runtime_does_not_block_the_next() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    rig.probe.on(Verb::Acquire).next(Outcome::permanent()).never();
    let context = first.enter();
    // Until the breaker lets a probe through, for which this get waits.
    let mut gone = Box::pin(rig.pool.get());
    while poll_once(gone.as_mut()).is_ready() {
        first.block_on(advance(Duration::from_millis(5)));
        gone = Box::pin(rig.pool.get());
    }
    drop(context);
    assert_eq!(rig.counts(), [0, 0, 1, 0, 1]);
    drop(first);
    drop(gone);
    second.block_on(async {
        // As far as the clock of the first runtime.
        advance(Duration::from_secs(1)).await;
        rig.pool.put(rig.take().await);
    });
    drop(second);
    runtime().block_on(rig.finish(0));
}

/// The slot is held by a release, which ends with its runtime, and the handle with it.
#[test]
fn release_lost_with_its_runtime_frees_its_slot() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    rig.probe.on(Verb::Release).never();
    first.block_on(async {
        rig.take().await.kill();
        settle().await;
    });
    assert_eq!(rig.counts(), [0, 0, 0, 1, 0]);
    let waiter = rig.waiter_on(&second);
    drop(first);
    second.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
    second.block_on(rig.finish(1));
}

#[test]
fn validation_lost_with_its_runtime_frees_its_slot() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    rig.probe.on(Verb::Validate).never();
    first.block_on(async {
        let handle = rig.take().await;
        rig.probe.set_health(Health::Dirty);
        drop(handle);
        rig.probe.set_health(Health::Ready);
        settle().await;
    });
    assert_eq!(rig.counts(), [1, 0, 0, 0, 0]);
    let waiter = rig.waiter_on(&second);
    drop(first);
    let handle = second.block_on(async { bounded(waiter).await.unwrap() });
    assert_eq!(handle.id(), 1, "the first handle was never validated");
    rig.pool.put(handle);
    second.block_on(rig.finish(1));
}

/// A runtime that shuts down refuses the task of a creation. Begun again and again, it would hang the shutdown.
#[test]
fn get_polled_during_shutdown_returns() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Acquire).slow(1).slow(1);
    let mut get = Box::pin(rig.pool.get());
    let get = during_shutdown(move || {
        assert!(poll_once(get.as_mut()).is_pending());
        get
    });
    assert_eq!(rig.probe.counts().acquires, 1);
    // The get can still be served on another runtime.
    runtime().block_on(async { rig.pool.put(bounded(get).await.unwrap()) });
    runtime().block_on(rig.finish(0));
}

/// A waiter on another runtime needs the slot that the drop frees. The creation for it cannot run on this one.
#[test]
fn drop_during_shutdown_leaves_the_creation_to_a_waiter() {
    let (second, rig) = (runtime(), Rig::new(1));
    rig.probe.on(Verb::Acquire).ok().always(Outcome::ok().after_polls(1));
    let held = second.block_on(rig.take());
    drop(second);
    let second = runtime();
    let waiter = rig.waiter_on(&second);
    rig.probe.on(Verb::Validate).slow(1);
    rig.probe.set_health(Health::Dirty);
    during_shutdown(move || drop(held));
    rig.probe.set_health(Health::Ready);
    second.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
    second.block_on(rig.finish(1));
}

#[test]
fn pool_without_a_runtime_serves_what_needs_no_waiting() {
    let rig = Rig::new(2);
    let Poll::Ready(Ok(handle)) = poll_once(pin!(rig.pool.get())) else { panic!("nothing has to wait") };
    rig.pool.put(handle);
    let handle = rig.pool.try_get().unwrap();
    rig.probe.on(Verb::Acquire).slow(1);
    let Poll::Ready(Err(error)) = poll_once(pin!(rig.pool.get())) else { panic!("the future waits or succeeds") };
    assert!(error.to_string().contains("runtime"), "{error}");
    rig.pool.put(handle);
    runtime().block_on(rig.finish(0));
}

#[test]
fn dirty_handle_dropped_without_a_runtime_frees_its_slot() {
    let rig = Rig::new(1);
    for _ in 0..3 {
        let Poll::Ready(Ok(handle)) = poll_once(pin!(rig.pool.get())) else { panic!("nothing has to wait") };
        rig.probe.set_health(Health::Dirty);
        drop(handle);
        rig.probe.set_health(Health::Ready);
        assert_eq!(rig.counts(), [0; 5]);
    }
    runtime().block_on(rig.finish(3));
}

/// L13: until its release has ended, the server may still be working on the handle.
#[test]
fn release_moves_to_its_runtime_or_is_abandoned() {
    for own_runtime_stays in [true, false] {
        let (stays, ends, rig) = (runtime(), runtime(), Rig::new(1));
        let held = if own_runtime_stays { &stays } else { &ends }.block_on(rig.take());
        rig.probe.on(Verb::Release).close();
        ends.block_on(async {
            rig.pool.clear();
            rig.pool.put(held);
            settle().await;
        });
        stays.block_on(async move {
            ends.shutdown_background();
            settle().await;
        });
        let abandoned = rig.probe.counts().abandoned;
        assert_eq!((rig.pool.status().ending, abandoned), if own_runtime_stays { (1, 0) } else { (0, 1) });
        rig.probe.on(Verb::Release).ok();
        stays.block_on(settle());
        assert_eq!(rig.pool.status().ending, 0);
    }
}

#[test]
fn get_inside_an_ended_runtime_returns_an_error() {
    let (ended, rig) = (runtime(), Rig::new(1));
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(3));
    let handle = ended.handle().clone();
    drop(ended);
    let _inside = handle.enter();
    let mut get = pin!(rig.pool.get());
    let error = (0..100).find_map(|_| match poll_once(get.as_mut()) {
        Poll::Ready(outcome) => Some(outcome.unwrap_err()),
        Poll::Pending => None,
    });
    assert!(error.is_some(), "a hundred polls returned nothing");
}

/// The fault: a handle that was returned a moment later, by a clock that is ahead of this one, counted as proved.
#[test]
fn clocks_that_are_apart_keep_a_validation_at_each_check_out() {
    let (first, second) = (runtime(), runtime());
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).validate_after(Duration::ZERO));
    first.block_on(async {
        advance(Duration::from_millis(500)).await;
        rig.pool.put(rig.take().await);
        assert_eq!(rig.probe.on(Verb::Validate).calls(), 1);
    });
    second.block_on(async {
        rig.pool.put(rig.take().await);
        assert_eq!(rig.probe.on(Verb::Validate).calls(), 2);
        rig.finish(0).await;
    });
}

/// L14. The fault: on a clock that is behind the one on which the pool was built, any handle counted as proved.
#[test]
fn handle_in_doubt_is_validated_on_a_clock_that_is_behind() {
    let (first, second) = (runtime(), runtime());
    let rig = first.block_on(async {
        advance(Duration::from_secs(3600)).await;
        Rig::configured(Probe::new(), |builder| builder.max_size(1).validate_after(Duration::MAX))
    });
    second.block_on(async {
        drop(rig.take().await);
        rig.pool.put(rig.take().await);
        assert_eq!(rig.probe.on(Verb::Validate).calls(), 1);
        rig.finish(0).await;
    });
}

/// L14. The fault: a handle was counted as one of a runtime only after that had ended.
#[test]
fn handle_created_during_shutdown_is_validated_elsewhere() {
    let rig = Rig::new(1);
    let mut get = Box::pin(rig.pool.get());
    let handle = during_shutdown(move || match poll_once(get.as_mut()) {
        Poll::Ready(outcome) => outcome.unwrap(),
        Poll::Pending => unreachable!("the creation is ready at once"),
    });
    rig.pool.put(handle);
    runtime().block_on(async {
        rig.pool.put(rig.take().await);
        assert_eq!(rig.probe.on(Verb::Validate).calls(), 1);
        rig.finish(0).await;
    });
}

/// L14. The fault: a validation that had begun before proved the handle for later.
#[test]
fn handle_whose_runtime_ends_in_its_validation_is_in_doubt() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    first.block_on(async { drop(rig.take().await) });
    rig.probe.on(Verb::Validate).close();
    let get = rig.waiter_on(&second);
    drop(first);
    rig.probe.on(Verb::Validate).always(Outcome::ok());
    second.block_on(async {
        rig.pool.put(bounded(get).await.unwrap());
        rig.pool.put(rig.take().await);
        assert_eq!(rig.probe.on(Verb::Validate).calls(), 2);
        // Once is enough.
        rig.pool.put(rig.take().await);
        assert_eq!(rig.probe.on(Verb::Validate).calls(), 2);
        rig.finish(0).await;
    });
}

/// The next janitor must not take the time of the former one for that of its own last look.
#[test]
fn long_use_is_reported_after_a_janitor_whose_clock_was_ahead() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    first.block_on(async {
        rig.pool.put(rig.take().await);
        advance(Duration::from_secs(3600)).await;
        settle().await;
    });
    drop(first);
    second.block_on(async {
        let held = rig.take().await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(rig.pool.status().held_too_long, 1);
        rig.pool.put(held);
        rig.finish(0).await;
    });
}
