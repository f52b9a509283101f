//! L2 lazy, L4 one per scope, L5 the scope owns the acquisition.

use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use reqscope::scope::{LazyState, TryGetError};
use reqscope::{Exit, ResourceExt};
use reqscope_testkit::{Outcome, Probe, Verb, Wakes, cancel_at, poll_once};
use tokio::time::{sleep, timeout};

use crate::support::{Event, Server, get_now, settle};

#[tokio::test(start_paused = true)]
async fn unused_resource_is_not_acquired() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let clone = lazy.clone();
    drop(lazy.get()); // Creating the future acquires nothing.
    assert_eq!((lazy.state(), clone.state()), (LazyState::Unused, LazyState::Unused));
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(server.probe.counts().acquires, 0);
    assert_eq!(server.stats().acquired, 0);
    assert_eq!(server.events.all(), []);
}

#[test]
fn resource_that_is_ready_at_once_needs_no_runtime() {
    let server = Server::with(Probe::new().reclaiming());
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    get_now(&lazy).use_once();
    assert!(poll_once(pin!(scope.close(Exit::Completed))).is_ready());
    assert_eq!(server.exits(), [Exit::Completed]);
    server.assert_balanced();
}

/// They get the same handle, one after the other.
#[tokio::test(start_paused = true)]
async fn concurrent_first_uses_share_one_acquisition() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).slow(3);
    let scope = server.scopes.open();
    let use_it = async |lazy: reqscope::Lazy<Probe>| {
        let mut guard = lazy.get().await.unwrap();
        settle().await; // The other one runs meanwhile.
        guard.use_once();
        guard.id()
    };
    let (first, second) = tokio::join!(use_it(scope.lazy(&server.probe)), use_it(scope.lazy(&server.probe)));
    assert_eq!((first, second), (0, 0));
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
    assert_eq!(server.probe.counts().acquires, 1);
    assert_eq!(server.probe.record(0).uses, 2);
}

#[tokio::test(start_paused = true)]
async fn handle_is_lent_to_one_caller_at_a_time() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let (guard, line) = (get_now(&lazy), line!());
    assert_eq!(lazy.state(), LazyState::Lent);
    let error = lazy.try_get().unwrap_err();
    assert!(matches!(error, TryGetError::Lent { holder } if holder.line() == line), "{error}");
    let text = format!("the handle is lent: a guard of this request, taken at {}:{line}, is still held", file!());
    assert_eq!(error.to_string(), text);
    let mut other = pin!(lazy.get());
    assert!(poll_once(other.as_mut()).is_pending());
    drop(guard);
    assert_eq!(lazy.state(), LazyState::Ready);
    assert_eq!(other.await.unwrap().id(), 0);
    assert_eq!(lazy.try_get().unwrap().id(), 0);
}

#[tokio::test(start_paused = true)]
async fn cells_are_told_apart_by_their_arc() {
    let server = Server::new();
    let sibling = Arc::new(server.probe.sibling());
    let scope = server.scopes.open();
    let request = scope.handle().clone();
    let first = get_now(&scope.lazy(&server.probe));
    assert_eq!(request.lazy(&Arc::clone(&server.probe)).state(), LazyState::Lent);
    assert_eq!(request.lazy(&sibling).state(), LazyState::Unused);
    let second = get_now(&request.lazy(&sibling));
    assert_ne!(first.id(), second.id());
}

/// More cells than are looked through one by one.
#[tokio::test(start_paused = true)]
async fn many_cells_are_told_apart_and_released_in_reverse_order() {
    let server = Server::new();
    let siblings: Vec<_> = (0..100).map(|_| Arc::new(server.probe.sibling())).collect();
    let scope = server.scopes.open();
    let bounded = Arc::new(server.probe.sibling().timeout(Duration::from_secs(1)));
    for round in 0..2 {
        for (id, sibling) in siblings.iter().enumerate() {
            assert_eq!(scope.lazy(sibling).get().await.unwrap().id(), id as u64, "round {round}");
        }
    }
    assert_eq!(server.events.count(Event::SecondResource), 1);
    drop(scope.lazy(&bounded).get().await.unwrap());
    assert_eq!(server.events.count(Event::SecondResource), 1, "a resource of another type");
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
    assert_eq!(server.order(), (0..=100).rev().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn second_resource_of_one_type_is_reported_once() {
    let server = Server::new();
    for _ in 0..3 {
        let scope = server.scopes.open();
        drop(scope.lazy(&server.probe));
        drop(scope.lazy(&server.probe));
        for _ in 0..3 {
            drop(scope.lazy(&Arc::new(server.probe.sibling())));
        }
    }
    assert_eq!(server.events.count(Event::SecondResource), 1);
}

#[tokio::test(start_paused = true)]
async fn new_get_lets_waiters_go_first_once() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut waiter = pin!(lazy.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    drop(guard);

    let wakes = Wakes::new();
    let waker = wakes.waker();
    let mut newcomer = pin!(lazy.get());
    assert!(newcomer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(wakes.count(), 1, "it asks to be polled again at once");
    drop(poll_once(waiter).map(Result::unwrap)); // The waiter has had its turn.
    assert!(poll_once(newcomer).is_ready());
}

#[tokio::test(start_paused = true)]
async fn unpolled_waiter_delays_others_by_one_poll_at_most() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut asleep = pin!(lazy.get());
    assert!(poll_once(asleep.as_mut()).is_pending());
    drop(guard);
    for _ in 0..3 {
        let mut newcomer = pin!(lazy.get());
        assert!(poll_once(newcomer.as_mut()).is_pending());
        assert!(poll_once(newcomer.as_mut()).is_ready(), "the second poll succeeds although the waiter sleeps");
    }
}

#[tokio::test(start_paused = true)]
async fn returned_guard_wakes_the_first_two_and_the_last() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let wakes: [Wakes; 6] = std::array::from_fn(|_| Wakes::new());
    let mut gets: [_; 6] = std::array::from_fn(|_| lazy.get());
    for (get, wakes) in gets.iter_mut().zip(&wakes) {
        let waker = wakes.waker();
        assert!(pin!(get).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(guard);
    assert_eq!(wakes.map(|wakes| wakes.count()), [1, 1, 0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn waiter_that_moves_to_another_task_is_woken_there() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let (before, after) = (Wakes::new(), Wakes::new());
    let mut get = pin!(lazy.get());
    for wakes in [&before, &after] {
        let waker = wakes.waker();
        assert!(get.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(guard);
    assert_eq!((before.count(), after.count()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn get_and_try_get_take_what_is_ready_at_once() {
    let server = Server::new();
    server.probe.make_ready(1);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(lazy.try_get().expect("a handle is ready"));
    drop(lazy.try_get().expect("the handle is idle"));
    drop(scope);

    server.probe.make_ready(1);
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    drop(scope);
    assert_eq!(server.probe.counts().acquires, 0, "try_acquire was enough");
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn try_get_does_not_wait_and_leaves_the_cell_unused() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    assert!(matches!(lazy.try_get(), Err(TryGetError::WouldWait)));
    assert_eq!(lazy.state(), LazyState::Unused);
    assert_eq!(server.probe.counts().acquires, 0);

    server.probe.on(Verb::Acquire).never();
    assert!(poll_once(pin!(lazy.get())).is_pending());
    assert_eq!(lazy.state(), LazyState::Acquiring);
    assert!(matches!(lazy.try_get(), Err(TryGetError::Acquiring)));
}

#[tokio::test(start_paused = true)]
async fn first_get_cut_at_any_poll_does_not_cancel_acquisition() {
    for polls in 1.. {
        let server = Server::new();
        server.probe.on(Verb::Acquire).slow(4);
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        let finished = cancel_at(polls, lazy.get()).await.map(Result::unwrap);
        let done = finished.is_some();
        drop(finished);
        assert_eq!(lazy.get().await.unwrap().id(), 0, "cut at poll {polls}");
        assert_eq!(server.probe.counts().acquires, 1, "cut at poll {polls}");
        scope.close(Exit::Completed).await.unwrap();
        server.finish().await;
        if done {
            assert!(polls > 1, "no get was cut");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn handle_without_a_waiter_stays_in_the_cell() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    server.probe.on(Verb::Acquire).close();
    assert!(cancel_at(1, lazy.get()).await.is_none());
    server.probe.on(Verb::Acquire).ok();
    settle().await;
    assert_eq!(lazy.state(), LazyState::Ready);
    scope.close(Exit::Failed).await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed]);
}

#[tokio::test(start_paused = true)]
async fn unpolled_first_get_stalls_no_other_caller() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).close();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut asleep = pin!(lazy.get());
    assert!(poll_once(asleep.as_mut()).is_pending());
    let second = tokio::spawn({
        let lazy = lazy.clone();
        async move { lazy.get().await.unwrap().id() }
    });
    settle().await;
    server.probe.on(Verb::Acquire).ok();
    assert_eq!(second.await.unwrap(), 0);
    assert_eq!(asleep.await.unwrap().id(), 0, "the first caller gets its turn when it is polled");
    assert_eq!(server.probe.counts().acquires, 1);
}

#[tokio::test(start_paused = true)]
async fn users_with_short_budgets_share_one_long_acquisition() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).next(Outcome::ok().after(Duration::from_millis(100)));
    let scope = server.scopes.open();
    let users: Vec<_> = (0..20)
        .map(|user| {
            let lazy = scope.lazy(&server.probe);
            tokio::spawn(async move {
                sleep(Duration::from_millis(30 * user)).await;
                timeout(Duration::from_millis(60), lazy.get()).await.is_ok_and(|got| got.is_ok())
            })
        })
        .collect();
    let mut served = 0;
    for user in users {
        served += u32::from(user.await.unwrap());
    }
    assert_eq!(served, 18, "all but the first two, whose budgets end at 60 and 90 ms");
    assert_eq!(server.probe.counts().acquires, 1);
}
