//! A handle in doubt is validated before its next use (L14), and keeps its slot until it has ended (L13).

use std::sync::Arc;
use std::time::Duration;

use reqscope::pool::Reset;
use reqscope::{Error, Exit, Health, Lease, Pool, Pooled, Resource};
use reqscope_testkit::{Outcome, Probe, ProbeHandle, Scripted, Verb, expect_panic, quiet_panic};
use tokio::time::{Instant, sleep};

use super::rig::Rig;
use crate::support::{bounded, settle};

/// Uses a handle through a lease that ends with this exit. Returns the id of the next handle that is lent.
async fn next_after(rig: &Rig, exit: Exit) -> u64 {
    let lease = bounded(Lease::acquire(&rig.pool)).await.unwrap();
    bounded(Lease::end(lease, exit)).await.unwrap();
    let next = rig.take().await;
    let id = next.id();
    rig.pool.put(next);
    id
}

#[tokio::test(start_paused = true)]
async fn completed_use_needs_no_validation() {
    let rig = Rig::new(1);
    for exit in [Exit::Completed, Exit::Failed] {
        assert_eq!(next_after(&rig, exit).await, 0);
    }
    assert_eq!(rig.probe.counts().validated, 0);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn cancelled_or_panicked_use_is_followed_by_a_validation() {
    let rig = Rig::new(1);
    for (validations, exit) in [(1, Exit::Cancelled), (2, Exit::Panicked)] {
        assert_eq!(next_after(&rig, exit).await, 0);
        assert_eq!(rig.probe.counts().validated, validations);
    }
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn reset_always_validates_every_return() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).reset(Reset::Always));
    assert_eq!(next_after(&rig, Exit::Completed).await, 0);
    settle().await;
    assert_eq!(rig.probe.counts().validated, 2);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn failed_validation_releases_with_the_exit_of_the_use() {
    for outcome in [Outcome::error(), Outcome::panic(), Outcome::never()] {
        let rig = Rig::new(1);
        rig.probe.on(Verb::Validate).always(outcome);
        assert_eq!(next_after(&rig, Exit::Cancelled).await, 1);
        assert_eq!(next_after(&rig, Exit::Panicked).await, 2);
        assert_eq!(rig.probe.record(0).exits, [Exit::Cancelled]);
        assert_eq!(rig.probe.record(1).exits, [Exit::Panicked]);
        rig.finish(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn handle_that_died_in_use_is_not_validated_or_reused() {
    let rig = Rig::new(1);
    for (number, exit) in [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked].into_iter().enumerate() {
        rig.fill(1).await;
        let mut lease = bounded(Lease::acquire(&rig.pool)).await.unwrap();
        assert_eq!(lease.id(), number as u64);
        lease.kill();
        bounded(Lease::end(lease, exit)).await.unwrap();
    }
    assert_eq!(rig.probe.counts().validated, 0);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn handle_cut_in_an_operation_is_not_lent_again() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Operate).never();
    let mut handle = rig.take().await;
    handle.taken_by(1);
    drop(reqscope_testkit::cancel_at(1, handle.operate()).await);
    drop(handle);
    let mut next = rig.take().await;
    next.taken_by(2);
    next.use_once();
    rig.pool.put(next);
    rig.finish(0).await;
}

/// Both hang: the slot is held for the whole of both timeouts, and the waiter is served then.
#[tokio::test(start_paused = true)]
async fn slot_is_held_until_validation_and_release_end() {
    let rig = Rig::configured(Probe::new(), |builder| {
        builder.max_size(1).validate_timeout(Duration::from_secs(2)).release_timeout(Duration::from_secs(3))
    });
    rig.probe.on(Verb::Validate).never();
    rig.probe.on(Verb::Release).never();
    let handle = rig.take().await;
    rig.probe.set_health(Health::Dirty);
    drop(handle);
    rig.probe.set_health(Health::Ready);
    let (began, waiter) = (Instant::now(), rig.waiter());
    settle().await;
    assert_eq!(rig.counts(), [1, 0, 0, 0, 1]);
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(rig.counts(), [0, 0, 0, 1, 1]);
    let next = bounded(waiter).await.unwrap();
    assert_eq!((began.elapsed().as_secs(), next.id()), (5, 1));
    rig.pool.put(next);
    rig.finish(1).await;
}

#[tokio::test(start_paused = true)]
async fn slot_is_freed_however_its_release_ends() {
    for outcome in [Outcome::ok(), Outcome::error(), Outcome::panic()] {
        let rig = Rig::new(1);
        rig.probe.on(Verb::Release).close();
        let mut handle = rig.take().await;
        handle.kill();
        rig.pool.put(handle);
        let waiter = rig.waiter();
        settle().await;
        assert_eq!((rig.counts(), rig.probe.counts().acquires), ([0, 0, 0, 1, 1], 1));
        rig.probe.on(Verb::Release).always(outcome);
        let next = bounded(waiter).await.unwrap();
        assert_eq!(next.id(), 1);
        rig.pool.put(next);
        rig.finish(0).await;
    }
}

/// No call waits here, so the `get` would loop without end, if failed validations did not open the breaker.
#[tokio::test(start_paused = true)]
async fn get_gives_up_if_no_new_handle_is_sound() {
    let rig = Rig::configured(Probe::new().reclaiming(), |builder| {
        builder.max_size(2).validate_after(Duration::ZERO).reset(Reset::Always)
    });
    rig.probe.on(Verb::Validate).always(Outcome::error());
    let error = bounded(rig.pool.get()).await.unwrap_err();
    assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
    assert!(rig.probe.counts().acquires <= 8, "{:?}", rig.probe.counts());
    rig.finish(0).await;
}

/// A resource with a verb that panics before it returns a future.
struct PanicsEarly {
    probe: Probe,
    verb: &'static str,
}

impl PanicsEarly {
    fn panic_in(&self, verb: &str) {
        if self.verb == verb {
            quiet_panic("before its future");
        }
    }
}

impl Resource for PanicsEarly {
    type Handle = ProbeHandle;
    type Cause = Scripted;

    fn acquire(&self) -> impl Future<Output = Result<ProbeHandle, Error<Scripted>>> + Send {
        self.panic_in("acquire");
        self.probe.acquire()
    }

    fn validate(&self, handle: &mut ProbeHandle) -> impl Future<Output = Result<(), Error<Scripted>>> + Send {
        self.panic_in("validate");
        self.probe.validate(handle)
    }

    fn release(&self, handle: ProbeHandle, exit: Exit) -> impl Future<Output = Result<(), Error<Scripted>>> + Send {
        self.panic_in("release");
        self.probe.release(handle, exit)
    }

    fn try_acquire(&self) -> Option<ProbeHandle> {
        self.panic_in("try_acquire");
        None
    }

    fn probe(&self, handle: &ProbeHandle) -> Health {
        self.panic_in("probe");
        self.probe.probe(handle)
    }

    fn reclaim(&self, handle: ProbeHandle, _exit: Exit) -> Result<(), ProbeHandle> {
        self.panic_in("reclaim");
        Err(handle)
    }
}

#[tokio::test(start_paused = true)]
async fn verb_that_panics_before_its_future_costs_no_slot() {
    for verb in ["acquire", "validate", "release", "try_acquire", "probe", "reclaim"] {
        let probe = Probe::new();
        let pool = Arc::new(Pool::builder().max_size(2).build(PanicsEarly { probe: probe.clone(), verb }));
        for _ in 0..5 {
            match bounded(pool.get()).await {
                Ok(handle) => drop(handle),
                Err(error) => {
                    assert!(["acquire", "try_acquire", "probe", "validate"].contains(&verb), "{verb}: {error}")
                }
            }
            sleep(Duration::from_secs(5)).await;
            let status = pool.status();
            assert_eq!((status.in_use, status.creating, status.ending, status.waiting), (0, 0, 0, 0), "{verb}");
        }
        assert_eq!(pool.close(Duration::from_secs(60)).await.live, 0, "{verb}");
        assert_eq!(probe.counts().live(), 0, "{verb}");
    }
}

#[tokio::test(start_paused = true)]
async fn handle_dropped_while_unwinding_exits_as_panicked() {
    let rig = Rig::new(1);
    rig.probe.on(Verb::Validate).error();
    let handle = rig.take().await;
    expect_panic(|| {
        let _held = handle;
        panic!("in the middle of its use");
    });
    let next = rig.take().await;
    assert_eq!(next.id(), 1);
    assert_eq!(rig.probe.record(0).exits, [Exit::Panicked]);
    rig.pool.put(next);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn long_idle_handle_is_validated_and_replaced_on_failure() {
    for outcome in [Outcome::error(), Outcome::panic(), Outcome::never()] {
        let rig = Rig::new(1);
        rig.fill(1).await;
        sleep(Duration::from_secs(10)).await;
        rig.pool.put(rig.take().await);
        assert_eq!(rig.probe.record(0).validated, 1);
        sleep(Duration::from_secs(10)).await;
        rig.probe.on(Verb::Validate).next(outcome);
        let began = Instant::now();
        let handle = rig.take().await;
        assert_eq!(handle.id(), 1);
        assert!(began.elapsed() <= Duration::from_millis(2_100), "{:?}", began.elapsed());
        rig.pool.put(handle);
        rig.finish(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn handle_idle_during_a_pause_is_validated_before_its_grant() {
    let rig = Rig::new(1);
    rig.fill(1).await;
    rig.pool.pause();
    let waiter = rig.waiter();
    sleep(Duration::from_secs(10)).await;
    rig.pool.resume();
    rig.pool.put(bounded(waiter).await.unwrap());
    assert_eq!(rig.probe.record(0).validated, 1);
    rig.finish(0).await;
}

/// The fault: a handle that was being validated at the time stayed in the pool.
#[tokio::test(start_paused = true)]
async fn handle_cleared_during_its_validation_has_one_use_at_most() {
    let rig = Rig::new(1);
    drop(rig.take().await);
    rig.probe.on(Verb::Validate).close();
    let get = rig.waiter();
    rig.pool.clear();
    rig.probe.on(Verb::Validate).always(Outcome::ok());
    rig.pool.put(bounded(get).await.unwrap());
    assert_eq!(rig.take().await.id(), 1);
    settle().await;

    // And in a task of the pool.
    let held = rig.take().await;
    rig.probe.on(Verb::Validate).close();
    rig.probe.set_health(Health::Dirty);
    drop(held);
    rig.probe.set_health(Health::Ready);
    settle().await;
    rig.pool.clear();
    rig.probe.on(Verb::Validate).always(Outcome::ok());
    settle().await;
    assert_eq!(rig.pool.status().idle, 0);
    rig.finish(0).await;
}

// The validation of a handle that a task of the pool puts back afterwards.

/// Drops a handle that has to be validated at once.
async fn drop_dirty(rig: &Rig, held: Pooled<Probe>) {
    rig.probe.set_health(Health::Dirty);
    drop(held);
    rig.probe.set_health(Health::Ready);
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn handle_validated_after_its_last_use_is_retired() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).max_uses(2));
    for [idle, retired] in [[1, 0], [0, 1]] {
        drop_dirty(&rig, rig.take().await).await;
        assert_eq!((rig.counts(), rig.pool.status().retired), ([0, idle, 0, 0, 0], retired as u64));
    }
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn handle_validated_at_the_moment_of_its_expiry_is_retired() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(1).max_lifetime(Duration::ZERO));
    drop_dirty(&rig, rig.take().await).await;
    assert_eq!((rig.counts(), rig.pool.status().retired), ([0; 5], 1));
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn failed_validation_in_a_task_validates_what_else_is_unproved() {
    let rig = Rig::new(2);
    let [idle, held] = <[_; 2]>::try_from(rig.take_all(2).await).unwrap();
    drop(idle);
    rig.probe.on(Verb::Validate).always(Outcome::error());
    drop_dirty(&rig, held).await;
    assert_eq!(rig.probe.on(Verb::Validate).calls(), 2);
    rig.finish(0).await;
}
