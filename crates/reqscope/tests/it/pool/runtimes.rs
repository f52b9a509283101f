//! A pool belongs to no runtime: it serves those of one after the other, and several at once.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;

use reqscope::{Exit, Lease, Pool};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::rig::Rig;
use crate::support::{bounded, runtime, settle, while_it_shuts_down};

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Creations, waiting, a proof and a release, each of which has to wait.
async fn life(rig: &Rig) {
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
        paused().block_on(life(&rig));
        let held = paused().block_on(rig.take());
        // Outside of any, with one that has ended as its home: nobody can prove it.
        drop(held);
    }
    paused().block_on(rig.at_the_end(5));
}

#[test]
fn pool_serves_a_multi_thread_runtime_and_a_local_set() {
    let rig = Rig::new(1);
    let threads = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    threads.block_on(life(&rig));
    drop(threads);
    paused().block_on(async {
        let set = LocalSet::new();
        set.run_until(life(&rig)).await;
        set.run_until(async { tokio::task::spawn_local(async { life(&Rig::new(1)).await }).await.unwrap() }).await;
    });
    paused().block_on(rig.at_the_end(0));
}

/// As a test suite has it.
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
        // Dropped here it is proved there.
        drop(held);
        first.block_on(settle());
    }
    assert_eq!(rig.probe.counts().acquired, 1);
    drop((first, second));
    paused().block_on(rig.at_the_end(0));
}

#[test]
fn waiter_restarts_a_creation_lost_with_its_runtime() {
    let (first, second, rig) = (runtime(), paused(), Rig::new(1));
    rig.probe.on(Verb::Acquire).never();
    let gone = rig.waiter_on(&first);
    let waiter = rig.waiter_on(&second);
    assert_eq!(rig.counts(), [0, 0, 1, 0, 2]);
    drop(gone);
    drop(first);
    assert_eq!(rig.counts(), [0, 0, 0, 0, 1]);
    second.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
    assert_eq!(rig.probe.counts().acquires_cut, 1);
    second.block_on(rig.at_the_end(0));
}

/// It is one that asks whether the backend is back: nobody else may ask meanwhile.
#[test]
fn probe_lost_with_its_runtime_does_not_block_the_next() {
    let (first, second, rig) = (runtime(), runtime(), Rig::new(1));
    rig.probe.on(Verb::Acquire).error().never();
    let context = first.enter();
    // Until the breaker lets a probe through, and somebody waits for that.
    let mut gone = Box::pin(rig.pool.get());
    while poll_once(gone.as_mut()).is_ready() {
        gone = Box::pin(rig.pool.get());
    }
    drop(context);
    assert_eq!(rig.counts(), [0, 0, 1, 0, 1]);
    drop(first);
    drop(gone);
    second.block_on(async { rig.pool.put(rig.take().await) });
    drop(second);
    paused().block_on(rig.at_the_end(0));
}

/// The slot is held by a release, which ends with its runtime (and with it the handle).
#[test]
fn release_lost_with_its_runtime_frees_its_slot() {
    let (first, second, rig) = (runtime(), paused(), Rig::new(1));
    rig.probe.on(Verb::Release).never();
    first.block_on(async {
        rig.take().await.kill();
        settle().await;
    });
    assert_eq!(rig.counts(), [0, 0, 0, 1, 0]);
    let waiter = rig.waiter_on(&second);
    drop(first);
    second.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
    second.block_on(rig.at_the_end(1));
}

#[test]
fn validation_lost_with_its_runtime_frees_its_slot() {
    let (first, second, rig) = (runtime(), paused(), Rig::new(1));
    rig.probe.on(Verb::Validate).never();
    first.block_on(async {
        drop(rig.take().await);
        settle().await;
    });
    assert_eq!(rig.counts(), [1, 0, 0, 0, 0]);
    let waiter = rig.waiter_on(&second);
    drop(first);
    let object = second.block_on(async { bounded(waiter).await.unwrap() });
    assert_eq!(object.id(), 1, "the first one was never proved");
    rig.pool.put(object);
    second.block_on(rig.at_the_end(1));
}

/// A runtime that shuts down refuses the task of a creation: begun again and again it would hang the shutdown.
#[test]
fn a_get_that_is_polled_while_its_runtime_shuts_down_comes_back() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Acquire).slow(1).slow(1);
    let mut get = Box::pin(rig.pool.get());
    let get = while_it_shuts_down(move || {
        assert!(poll_once(get.as_mut()).is_pending());
        get
    });
    assert_eq!(rig.probe.counts().acquires, 1);
    // It can still be served elsewhere.
    paused().block_on(async { rig.pool.put(bounded(get).await.unwrap()) });
    paused().block_on(rig.at_the_end(0));
}

/// There somebody waits, and the slot is free: but here nothing can be created.
#[test]
fn drop_during_shutdown_leaves_the_creation_to_a_waiter() {
    let (second, rig) = (paused(), Rig::new(1));
    rig.probe.on(Verb::Acquire).ok().always(Outcome::ok().after_polls(1));
    let held = second.block_on(rig.take());
    drop(second);
    let second = paused();
    let waiter = rig.waiter_on(&second);
    rig.probe.on(Verb::Validate).slow(1);
    while_it_shuts_down(move || drop(held));
    second.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
    second.block_on(rig.at_the_end(1));
}

#[test]
fn pool_without_a_runtime_serves_what_needs_no_waiting() {
    let rig = Rig::new(2);
    let Poll::Ready(Ok(object)) = poll_once(pin!(rig.pool.get())) else { panic!("nothing has to wait") };
    rig.pool.put(object);
    let object = rig.pool.try_get().unwrap();
    rig.probe.on(Verb::Acquire).slow(1);
    let Poll::Ready(Err(error)) = poll_once(pin!(rig.pool.get())) else { panic!("it must not wait for ever") };
    assert!(error.to_string().contains("runtime"), "{error}");
    rig.pool.put(object);
    paused().block_on(rig.at_the_end(0));
}

#[test]
fn handle_dropped_without_a_runtime_frees_its_slot() {
    let rig = Rig::new(1);
    for _ in 0..3 {
        let Poll::Ready(Ok(object)) = poll_once(pin!(rig.pool.get())) else { panic!("nothing has to wait") };
        drop(object);
        assert_eq!(rig.counts(), [0; 5]);
    }
    paused().block_on(rig.at_the_end(3));
}

/// L13: the server may still be working for it.
#[test]
fn release_moves_to_its_runtime_or_is_abandoned() {
    for home_stays in [true, false] {
        let (stays, ends, rig) = (runtime(), runtime(), Rig::new(1));
        let held = if home_stays { &stays } else { &ends }.block_on(rig.take());
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
        assert_eq!((rig.pool.status().ending, abandoned), if home_stays { (1, 0) } else { (0, 1) });
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
    assert!(error.is_some(), "it was asked a hundred times");
}
