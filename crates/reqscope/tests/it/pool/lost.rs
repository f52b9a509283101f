//! A caller whose runtime cannot wait fails alone (L18): its creation or validation says nothing about the backend.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use reqscope::{Error, Health, Pool, Resource, resource_fn};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, Wakes, poll_once, quiet_panic};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use super::rig::Rig;
use crate::support::{bounded, runtime, settle};
use crate::watchdog::watch;

const GOOD: usize = 200;

fn without_timers() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Calls `get` where it cannot wait, and returns its error.
fn fails_here(rig: &Rig) -> Error<Scripted> {
    match poll_once(pin!(rig.pool.get())) {
        Poll::Ready(outcome) => outcome.unwrap_err(),
        Poll::Pending => panic!("the get waits, although it has no timer"),
    }
}

/// The fault: 136 of the 200 callers were answered that they were not polled inside a tokio runtime.
#[test]
fn bad_callers_fail_none_of_200_good_ones() {
    let rig = Arc::new(Rig::configured(Probe::new(), |builder| builder.max_size(8).max_uses(1)));
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(3));
    let over = Arc::new(AtomicBool::new(false));
    let bad = [false, true].map(|inside| {
        let (rig, over) = (Arc::clone(&rig), Arc::clone(&over));
        thread::spawn(move || {
            let runtime = inside.then(without_timers);
            let _inside = runtime.as_ref().map(Runtime::enter);
            while !over.load(Ordering::Relaxed) {
                match poll_once(pin!(rig.pool.get())) {
                    Poll::Ready(Ok(handle)) => rig.pool.put(handle),
                    Poll::Ready(Err(error)) => assert!(error.is_runtime(), "{error}"),
                    // It is in the queue, and leaves it here.
                    Poll::Pending => {}
                }
            }
        })
    });
    let healthy = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let served = healthy.block_on(async {
        let good: Vec<_> = (0..GOOD)
            .map(|_| {
                let rig = Arc::clone(&rig);
                tokio::spawn(async move { rig.pool.get().await.map(|handle| rig.pool.put(handle)) })
            })
            .collect();
        let mut served = 0;
        for caller in good {
            match caller.await.unwrap() {
                Ok(()) => served += 1,
                Err(error) => eprintln!("{error}"),
            }
        }
        served
    });
    over.store(true, Ordering::Relaxed);
    bad.into_iter().for_each(|caller| caller.join().unwrap());
    assert_eq!(served, GOOD);
    assert!(!rig.pool.status().down);
}

#[test]
fn creation_of_a_bad_caller_is_lost_and_a_waiter_begins_again() {
    for inside in [false, true] {
        let (healthy, rig) = (runtime(), Rig::new(1));
        rig.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(3));
        let timerless = inside.then(without_timers);
        let _inside = timerless.as_ref().map(Runtime::enter);
        let error = fails_here(&rig);
        assert!(error.is_runtime(), "{error}");
        assert!(!rig.pool.status().down);
        assert_eq!(rig.counts(), [0; 5]);
        // While a good caller creates, a bad one does not wait.
        let waiter = rig.waiter_on(&healthy);
        assert!(fails_here(&rig).is_runtime());
        drop(_inside);
        healthy.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
        healthy.block_on(rig.finish(0));
    }
}

/// It sleeps until it is woken: its runtime knows nothing of the creation on the other one.
#[test]
fn creation_lost_with_its_runtime_wakes_a_waiter_elsewhere() {
    let (healthy, ends, rig) = (runtime(), runtime(), Rig::new(1));
    rig.probe.on(Verb::Acquire).close();
    let caller = rig.waiter_on(&ends);
    let (wakes, mut waiter) = (Wakes::new(), rig.waiter_on(&healthy));
    {
        let _inside = healthy.enter();
        assert!(waiter.as_mut().poll(&mut Context::from_waker(&wakes.waker())).is_pending());
    }
    drop(ends);
    assert_eq!(wakes.count(), 1);
    drop(caller);
    rig.probe.on(Verb::Acquire).always(Outcome::ok());
    healthy.block_on(async { rig.pool.put(bounded(waiter).await.unwrap()) });
    healthy.block_on(rig.finish(0));
}

/// After two new handles that were dead, a creation includes a validation.
#[test]
fn lost_first_validation_is_the_error_of_its_caller_alone() {
    let (healthy, rig) = (runtime(), Rig::new(1));
    healthy.block_on(async {
        for _ in 0..2 {
            let mut dead = rig.take().await;
            dead.kill();
            rig.pool.put(dead);
            settle().await;
        }
    });
    rig.probe.on(Verb::Validate).always(Outcome::ok().after_polls(1));
    let timerless = without_timers();
    let inside = timerless.enter();
    let error = fails_here(&rig);
    assert!(error.is_runtime() && !error.to_string().contains("first validation"), "{error}");
    assert!(!rig.pool.status().down);
    drop(inside);
    // The handle is released where it was created.
    timerless.block_on(settle());
    healthy.block_on(rig.finish(0));
}

/// A driver panics if there is no reactor.
#[test]
fn resource_that_panics_without_a_runtime_opens_no_breaker() {
    watch();
    let connecting = resource_fn(|| async {
        sleep(Duration::from_millis(1)).await;
        Ok::<_, Error<Infallible>>(7)
    });
    let (healthy, pool) = (runtime(), Pool::builder().max_size(1).build(connecting));
    for inside in [false, true] {
        let timerless = inside.then(without_timers);
        let _inside = timerless.as_ref().map(Runtime::enter);
        let Poll::Ready(Err(error)) = poll_once(pin!(pool.get())) else { panic!("there is nothing to wait for") };
        assert!(error.is_panicked(), "{error}");
        assert!(!pool.status().down);
    }
    healthy.block_on(async { pool.put(bounded(pool.get()).await.unwrap()) });
}

/// A pool on which connecting panics on this runtime, also if it does not happen at the first poll, as on a runtime with
/// timers and without I/O.
fn that_needs_io(bad: &Runtime) -> Pool<impl Resource<Handle = u8, Cause = Infallible> + use<>> {
    watch();
    let without_io = bad.handle().id();
    let connecting = resource_fn(move || async move {
        tokio::task::yield_now().await;
        if tokio::runtime::Handle::current().id() == without_io {
            quiet_panic(
                "A Tokio 1.x context was found, but IO is disabled. Call `enable_io` on the runtime builder.",
            );
        }
        Ok::<_, Error<Infallible>>(7)
    });
    Pool::builder().max_size(1).build(connecting)
}

#[test]
fn resource_that_needs_io_fails_only_its_caller() {
    let (bad, healthy) = (runtime(), runtime());
    let pool = that_needs_io(&bad);
    let error = bad.block_on(pool.get()).unwrap_err();
    assert!(error.is_panicked(), "{error}");
    assert!(!pool.status().down);
    healthy.block_on(async { pool.put(bounded(pool.get()).await.unwrap()) });
}

/// Otherwise it would connect again and again until its timeout.
#[test]
fn warm_of_a_resource_that_needs_io_fails_at_once() {
    let bad = runtime();
    let pool = that_needs_io(&bad);
    let outcome = bad.block_on(async {
        let mut warm = pin!(pool.warm());
        for _ in 0..100 {
            if let Poll::Ready(outcome) = poll_once(warm.as_mut()) {
                return Some(outcome);
            }
            tokio::task::yield_now().await;
        }
        None
    });
    let error = outcome.expect("a hundred polls returned nothing").unwrap_err();
    assert!(error.is_panicked(), "{error}");
}

#[test]
fn resource_that_panics_on_a_healthy_runtime_opens_the_breaker() {
    let (healthy, rig) = (runtime(), Rig::new(1));
    for _ in 0..3 {
        rig.probe.on(Verb::Acquire).next(Outcome::panic());
    }
    healthy.block_on(async {
        assert!(rig.pool.get().await.unwrap_err().is_panicked());
        assert!(rig.pool.status().down);
    });
}

/// The fault: it returned `Ok`, and there was no handle.
#[test]
fn warm_on_an_ended_runtime_is_an_error() {
    let rig = Rig::new(2);
    let handle = {
        let ended = runtime();
        ended.handle().clone()
    };
    let _context = handle.enter();
    let Poll::Ready(Err(error)) = poll_once(pin!(rig.pool.warm())) else { panic!("it succeeds or waits") };
    assert!(error.is_runtime(), "{error}");
    assert_eq!(rig.counts(), [0; 5]);
}

#[test]
fn warm_on_a_bad_runtime_returns_its_error() {
    let rig = Rig::configured(Probe::new(), |builder| builder.min_idle(2));
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(3));
    let error = without_timers().block_on(rig.pool.warm()).unwrap_err();
    assert!(error.is_runtime(), "{error}");
    assert!(!rig.pool.status().down);
    runtime().block_on(async {
        rig.pool.warm().await.unwrap();
        assert_eq!(rig.pool.status().idle, 2);
    });
}

/// The fault: the handle counted as dead, so all idle ones were validated at once, on the same runtime.
#[test]
fn validation_of_a_bad_caller_spares_the_other_handles() {
    let (healthy, rig) = (runtime(), Rig::new(4));
    // Dropped, they have to be validated before their next use.
    healthy.block_on(async { drop(rig.take_all(4).await) });
    rig.probe.on(Verb::Validate).always(Outcome::ok().after_polls(1));
    let timerless = without_timers();
    let inside = timerless.enter();
    let error = fails_here(&rig);
    assert!(error.is_runtime(), "{error}");
    // Its validation was cut, so it is released, on the runtime on which it was created.
    assert_eq!(rig.counts(), [0, 3, 0, 1, 0]);
    drop(inside);
    healthy.block_on(settle());
    assert_eq!(rig.counts(), [0, 3, 0, 0, 0]);
    healthy.block_on(rig.finish(0));
}

#[test]
fn caller_without_timers_validates_a_handle_that_is_ready() {
    let (healthy, rig) = (runtime(), Rig::new(1));
    // Dropped, it has to be validated before its next use.
    healthy.block_on(async { drop(rig.take_all(1).await) });
    let timerless = without_timers();
    let inside = timerless.enter();
    assert!(matches!(poll_once(pin!(rig.pool.get())), Poll::Ready(Ok(_))));
    assert_eq!(rig.probe.counts().validated, 1);
    drop(inside);
    healthy.block_on(rig.finish(0));
}

/// A task validates the handle that was dropped, on the runtime without timers.
#[test]
fn lost_validation_in_a_task_spares_the_other_handles() {
    let (healthy, timerless, rig) = (runtime(), without_timers(), Rig::new(2));
    let take = || match poll_once(pin!(rig.pool.get())) {
        Poll::Ready(outcome) => outcome.unwrap(),
        Poll::Pending => panic!("it has to wait"),
    };
    timerless.block_on(async {
        let (idle, held) = (take(), take());
        // Like the other, it has to be validated before its next use.
        drop(idle);
        rig.probe.on(Verb::Validate).always(Outcome::ok().after_polls(1));
        rig.probe.set_health(Health::Dirty);
        drop(held);
        rig.probe.set_health(Health::Ready);
        settle().await;
    });
    assert_eq!((rig.probe.on(Verb::Validate).calls(), rig.counts()), (1, [0, 1, 0, 0, 0]));
    healthy.block_on(rig.finish(0));
}
