//! L6 no acquisition outlives its scope, L8 no use after release, L9 the exit is passed on.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use reqscope::scope::{LazyState, TryGetError};
use reqscope::{Exit, Guard, Lease};
use reqscope_testkit::{Probe, Verb, Wakes, expect_panic, poll_once};

use crate::support::{Event, Server, get_now, settle};

#[tokio::test(start_paused = true)]
async fn gets_after_the_close_return_closed() {
    let server = Server::new();
    let scope = server.scopes.open();
    let request = scope.handle().clone();
    let (used, unused) = (request.lazy(&server.probe), request.lazy(&std::sync::Arc::new(server.probe.sibling())));
    drop(get_now(&used));
    scope.close(Exit::Completed).await.unwrap();
    let new = request.lazy(&server.probe);
    server.probe.make_ready(1); // A get that is let through would find a handle.
    for lazy in [used, unused, new] {
        assert_eq!(lazy.state(), LazyState::Closed);
        assert!(matches!(lazy.try_get(), Err(TryGetError::Closed)));
        let error = lazy.get().await.unwrap_err();
        assert!(error.is_closed() && error.is_permanent());
        assert_eq!(
            error.to_string(),
            "the request has ended and its scope is closed: detach the handle before that (`Guard::detach`) or use \
             `ScopeHandle::on_completed`"
        );
    }
    server.finish().await;
    assert_eq!(server.stats().acquired, 1);
}

#[tokio::test(start_paused = true)]
async fn close_seals_before_its_future_is_polled() {
    let server = Server::new();
    let scope = server.scopes.open();
    let request = scope.handle().clone();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    let close = scope.close(Exit::Completed);
    assert!(request.is_closed());
    assert!(lazy.get().await.unwrap_err().is_closed());
    request.mark_failed(); // Too late: the exit is fixed.
    close.await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn closed_future_is_woken_by_the_end_of_the_scope() {
    let server = Server::new();
    let scope = server.scopes.open();
    let request = scope.handle().clone();
    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut closed = pin!(request.closed());
    assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(!request.is_closed());
    drop(scope);
    assert!(request.is_closed());
    assert_eq!(wakes.count(), 1);
    assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    request.closed().await;
}

#[test]
fn deadline_is_readable_and_not_enforced() {
    let scope = Server::new().scopes.open();
    let request = scope.handle().clone();
    assert_eq!(request.deadline(), None);
    let at = Instant::now();
    scope.set_deadline(at);
    assert_eq!(request.deadline(), Some(at));
    assert!(!request.is_closed());
}

#[tokio::test(start_paused = true)]
async fn close_cancels_a_pending_acquisition() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let get = tokio::spawn(lazy.get());
    settle().await;
    assert_eq!(server.probe.counts().acquiring, 1);
    scope.close(Exit::Completed).await.unwrap();
    assert!(get.await.unwrap().unwrap_err().is_closed());
    settle().await;
    let counts = server.probe.counts();
    assert_eq!((counts.acquiring, counts.acquires_cut, counts.acquired), (0, 1, 0));
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn close_wakes_waiters_for_a_guard_or_an_acquisition() {
    for acquiring in [false, true] {
        let server = Server::new();
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        let guard = if acquiring {
            server.probe.on(Verb::Acquire).never();
            None
        } else {
            Some(get_now(&lazy))
        };
        let wakes = Wakes::new();
        let waker = wakes.waker();
        let mut get = pin!(lazy.get());
        assert!(get.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(scope);
        assert!(wakes.count() > 0);
        assert!(matches!(poll_once(get), Poll::Ready(Err(error)) if error.is_closed()));
        drop(guard);
    }
}

#[tokio::test(start_paused = true)]
async fn get_first_polled_after_the_close_returns_closed() {
    let server = Server::new();
    let scope = server.scopes.open();
    let get = scope.lazy(&server.probe).get();
    drop(scope);
    assert!(get.await.unwrap_err().is_closed());
    assert_eq!(server.probe.counts().acquires, 0);
}

#[tokio::test(start_paused = true)]
async fn exit_passed_to_close_reaches_release() {
    for exit in [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked] {
        let server = Server::new();
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        scope.close(exit).await.unwrap();
        server.finish().await;
        assert_eq!(server.exits(), [exit]);
        assert_eq!(server.events.count(Event::Released(exit)), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn marked_failure_cannot_become_a_success() {
    for (passed, released) in [
        (Exit::Completed, Exit::Failed),
        (Exit::Failed, Exit::Failed),
        (Exit::Cancelled, Exit::Cancelled),
        (Exit::Panicked, Exit::Panicked),
    ] {
        let server = Server::new();
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        scope.handle().mark_failed();
        scope.close(passed).await.unwrap();
        server.finish().await;
        assert_eq!(server.exits(), [released], "closed with {passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_scope_is_cancelled_or_panicked() {
    let server = Server::new();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    drop(scope);
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    expect_panic(move || {
        let _scope = scope;
        panic!("in the handler");
    });
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Cancelled, Exit::Panicked]);
}

#[tokio::test(start_paused = true)]
async fn guard_outliving_its_scope_is_released_as_cancelled() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut guard = get_now(&lazy);
    scope.close(Exit::Completed).await.unwrap();
    settle().await;
    guard.use_once();
    assert_eq!(server.exits(), []);
    assert_eq!((server.stats().still_lent, server.events.count(Event::StillLent)), (1, 1));
    drop(guard);
    assert_eq!(lazy.state(), LazyState::Closed);
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn guard_dropped_during_the_close_is_released_as_cancelled() {
    let server = Server::new();
    let settling = std::sync::Arc::new(server.probe.sibling().settling());
    settling.on(Verb::Release).close();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&settling)));
    let guard = get_now(&scope.lazy(&server.probe));
    let mut close = pin!(scope.close(Exit::Completed));
    assert!(poll_once(close.as_mut()).is_pending());
    drop(guard);
    settle().await;
    settling.on(Verb::Release).ok();
    close.await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed, Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn waiter_for_a_guard_gets_closed_and_not_the_guard() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let waiter = tokio::spawn(lazy.get());
    settle().await;
    drop(scope);
    drop(guard);
    assert!(waiter.await.unwrap().unwrap_err().is_closed());
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn get_woken_for_the_handle_finds_the_close_first() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut waiter = pin!(lazy.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    drop(guard);
    scope.close(Exit::Completed).await.unwrap();
    let Poll::Ready(Err(error)) = poll_once(waiter) else { panic!("the waiter got a guard") };
    assert!(error.is_closed());
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn get_after_a_detach_acquires_another_handle() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let lease = Guard::detach(get_now(&lazy));
    assert_eq!(lazy.state(), LazyState::Unused);
    assert_eq!((lease.id(), get_now(&lazy).id()), (0, 1));
    scope.close(Exit::Failed).await.unwrap();
    settle().await;
    assert_eq!(server.order(), [1]);
    assert_eq!(server.stats().live, 1);
    Lease::complete(lease).await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed, Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn detaching_lets_a_waiter_acquire_its_own_handle() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let waiter = tokio::spawn(lazy.get());
    settle().await;
    let lease = Guard::detach(guard);
    assert_eq!(waiter.await.unwrap().unwrap().id(), 1);
    drop((lease, scope));
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn handle_detached_before_the_close_is_not_settled() {
    let server = Server::with(Probe::new().settling());
    let scope = server.scopes.open();
    let lease = Guard::detach(get_now(&scope.lazy(&server.probe)));
    scope.close(Exit::Completed).await.unwrap();
    Lease::fail(lease).await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed]);
}

#[tokio::test(start_paused = true)]
async fn handle_detached_after_the_close_cannot_complete() {
    let server = Server::with(Probe::new().settling());
    let scope = server.scopes.open();
    let guard = get_now(&scope.lazy(&server.probe));
    scope.close(Exit::Completed).await.unwrap_err();
    Lease::complete(Guard::detach(guard)).await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn releases_run_in_reverse_order_of_arrival() {
    let server = Server::new();
    let [first, second] = [(); 2].map(|()| Arc::new(server.probe.sibling().settling()));
    first.on(Verb::Acquire).slow(5);
    second.on(Verb::Acquire).slow(2);
    let scope = server.scopes.open();
    let (asked_first, asked_second) = (scope.lazy(&first), scope.lazy(&second));
    let mut late = pin!(asked_first.get());
    assert!(poll_once(late.as_mut()).is_pending(), "the acquisition continues in its own task");
    let early = asked_second.get().await.unwrap().id();
    let late = late.await.unwrap().id();
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(server.order(), [late, early]);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_settling_releases_only() {
    let server = Server::new();
    server.probe.on(Verb::Release).never();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let close = pin!(scope.close(Exit::Completed));
    assert!(poll_once(close).is_ready(), "the close waits for a release that does not settle");
    assert_eq!(server.stats().pending_releases, 1);
    let report = server.scopes.drain(Duration::from_secs(60)).await;
    assert_eq!((report.abandoned, report.waited.as_secs()), (1, 5));
}
