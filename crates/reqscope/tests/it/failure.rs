//! The ways in which an acquisition fails: L3 cancel-safe acquire, L7 failure is not remembered, L12 bounded.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::scope::{LazyState, TryGetError};
use reqscope::{Error, Exit, Lease, Scopes, resource_fn};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, Wakes, cancel_at, poll_once, quiet_panic};

use crate::hooked::{At, Hooked};
use crate::support::{Event, Server, bounded, get_now, settle};

#[tokio::test(start_paused = true)]
async fn waiters_share_an_error_and_the_next_get_tries_again() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).close();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let gets: Vec<_> = (0..3).map(|_| tokio::spawn(lazy.get())).collect();
    settle().await;
    server.probe.on(Verb::Acquire).error();
    for get in gets {
        let error = get.await.unwrap().unwrap_err();
        assert_eq!((error.cause().is_some(), error.stage()), (true, Some(Stage::Acquiring)));
    }
    assert_eq!(server.probe.counts().acquires, 1);
    assert_eq!(lazy.state(), LazyState::Unused);

    server.probe.on(Verb::Acquire).ok();
    drop(lazy.get().await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
    assert_eq!((server.stats().acquire_failed, server.events.count(Event::AcquireFailed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn immediate_failure_is_returned_and_not_remembered() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).error();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let error = lazy.get().await.unwrap_err();
    assert_eq!(error.to_string(), "the resource failed while acquiring");
    assert_eq!(error.source().unwrap().to_string(), "scripted failure");
    drop(get_now(&lazy));
}

#[tokio::test(start_paused = true)]
async fn waiter_gets_the_error_of_its_own_attempt() {
    let server = Server::new();
    let gate = server.probe.on(Verb::Acquire);
    gate.close();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut waiter = pin!(lazy.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    gate.error();
    settle().await;

    // Before the waiter is polled there is a second attempt, without a result, and a third, which fails permanently.
    assert!(matches!(lazy.try_get(), Err(TryGetError::WouldWait)));
    gate.next(Outcome::permanent());
    assert!(lazy.get().await.unwrap_err().is_permanent());
    let error = waiter.await.unwrap_err();
    assert!(!error.is_permanent(), "the error of another attempt: {error}");
    assert_eq!(server.probe.counts().acquires, 2);
}

#[tokio::test(start_paused = true)]
async fn failed_get_that_is_kept_alive_blocks_no_other() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).close();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut failed = pin!(lazy.get());
    assert!(poll_once(failed.as_mut()).is_pending());
    server.probe.on(Verb::Acquire).error();
    assert!(failed.as_mut().await.is_err());
    server.probe.on(Verb::Acquire).ok();
    drop(get_now(&lazy));
    drop(get_now(&lazy)); // Idle, and without a waiter, although the failed `get` has not been dropped.
}

#[tokio::test(start_paused = true)]
async fn failure_wakes_all_waiters() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).close();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let wakes = [Wakes::new(), Wakes::new()];
    let mut gets = [lazy.get(), lazy.get()];
    for (get, wakes) in gets.iter_mut().zip(&wakes) {
        let waker = wakes.waker();
        assert!(pin!(get).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    server.probe.on(Verb::Acquire).error();
    settle().await;
    assert!(wakes.iter().all(|wakes| wakes.count() > 0));
    for get in gets {
        get.await.unwrap_err();
    }
}

/// The error of a wrapper may come from a stage further inside.
#[tokio::test(start_paused = true)]
async fn error_keeps_its_stage_or_gets_the_current_one() {
    for (named, acquiring, releasing) in
        [(None, Stage::Acquiring, Stage::Releasing), (Some(Stage::Validating), Stage::Validating, Stage::Validating)]
    {
        let fail = move || {
            let error = Error::<Infallible>::unavailable();
            Err(named.into_iter().fold(error, Error::at))
        };
        let never_made = Arc::new(resource_fn(move || async move { fail() as Result<(), _> }));
        let error = Lease::acquire(&never_made).await.unwrap_err();
        assert_eq!(error.stage(), Some(acquiring));

        let never_released = resource_fn(|| async { Ok(()) }).on_release(move |(), _| async move { fail() });
        let lease = Lease::acquire(&Arc::new(never_released)).await.unwrap();
        assert_eq!(Lease::complete(lease).await.unwrap_err().stage(), Some(releasing));
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_acquisition_times_out_after_60_seconds() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let error = bounded(lazy.get()).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.stage(), Some(Stage::Acquiring));
    assert_eq!(error.elapsed().unwrap().as_secs(), 60);
    assert_eq!(server.probe.counts().acquires_cut, 1, "the acquisition was dropped");
    assert_eq!((server.stats().acquire_failed, server.events.count(Event::AcquireFailed)), (1, 1));
    drop(get_now(&lazy));
    drop(scope);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn acquire_timeout_can_be_set() {
    let server = Server::configured(Probe::new(), |builder| builder.acquire_timeout(Duration::from_secs(2)));
    server.probe.on(Verb::Acquire).never().never();
    let scope = server.scopes.open();
    let error = bounded(scope.lazy(&server.probe).get()).await.unwrap_err();
    assert_eq!(error.elapsed().unwrap().as_secs(), 2);
    let error = bounded(Lease::acquire_in(server.scopes.reaper(), &server.probe)).await.unwrap_err();
    assert_eq!(error.elapsed().unwrap().as_secs(), 2);
    assert_eq!(error.to_string(), "timed out after 2.0 s while acquiring");
}

#[tokio::test(start_paused = true)]
async fn panic_in_acquire_is_an_error_for_all_waiters() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).next(Outcome::panic().after_polls(2)).panic();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let (first, second) = tokio::join!(lazy.get(), lazy.get());
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(error.is_panicked());
        assert_eq!(error.stage(), Some(Stage::Acquiring));
        assert!(error.to_string().contains("scripted panic"), "the panic's message is missing: {error}");
    }
    assert!(lazy.get().await.unwrap_err().is_panicked(), "a panic in the first poll");
    drop(get_now(&lazy));
    drop(scope);
    server.finish().await;
    assert_eq!(server.stats().acquire_failed, 2);
}

#[tokio::test(start_paused = true)]
async fn panic_in_try_acquire_is_the_error_of_both_gets() {
    let server = Server::new();
    let bomb = Hooked::bomb(At::TryAcquire);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&bomb);
    let error = lazy.try_get().unwrap_err();
    assert!(matches!(&error, TryGetError::Failed(error) if error.is_panicked()), "{error}");
    let error = lazy.get().await.unwrap_err();
    assert!(error.is_panicked());
    assert_eq!(lazy.state(), LazyState::Unused);
    assert_eq!(server.events.count(Event::AcquireFailed), 2);
}

#[tokio::test(start_paused = true)]
async fn lease_acquire_cut_at_any_poll_leaves_nothing_behind() {
    for polls in 1.. {
        let server = Server::new();
        server.probe.on(Verb::Acquire).slow(3);
        let cut = cancel_at(polls, Lease::acquire_in(server.scopes.reaper(), &server.probe)).await.is_none();
        server.finish().await;
        assert_eq!(server.probe.counts().acquires_cut, u64::from(cut));
        if !cut {
            assert_eq!(polls, 4);
            break;
        }
    }
}

/// A panic payload that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        quiet_panic("boom");
    }
}

#[test]
fn panic_whose_payload_panics_is_still_an_error() {
    let bombs = Arc::new(resource_fn(|| async {
        if true {
            std::panic::resume_unwind(Box::new(Bomb));
        }
        Ok::<(), Error<Scripted>>(())
    }));
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&bombs);
    let mut get = pin!(lazy.get());
    let Poll::Ready(Err(error)) = poll_once(get.as_mut()) else { panic!("the get did not fail") };
    assert!(error.is_panicked());
}

/// A waker that panics.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        quiet_panic("the alarm");
    }
}

#[test]
fn panicking_waker_does_not_keep_a_scope_open() {
    let server = Server::new();
    let scope = server.scopes.open();
    let mut closed = pin!(scope.handle().closed());
    let alarm = Arc::new(Alarm).into();
    assert!(closed.as_mut().poll(&mut Context::from_waker(&alarm)).is_pending());
    drop(scope);
    assert_eq!(server.stats().open_scopes, 0);
}

#[tokio::test(start_paused = true)]
async fn timeout_of_duration_max_never_passes() {
    let server = Server::configured(Probe::new(), |builder| builder.acquire_timeout(Duration::MAX));
    server.probe.on(Verb::Acquire).next(Outcome::ok().after(Duration::from_secs(500)));
    let scope = server.scopes.open();
    drop(bounded(scope.lazy(&server.probe).get()).await.unwrap());
}
