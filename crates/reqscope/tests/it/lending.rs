//! L12 for waiters on a guard of their own request: the lend timeout and its error.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::scope::LazyState;
use reqscope::{Error, Exit, Guard, Health, Lazy, Lease, Scopes, resource_fn};
use reqscope_testkit::{Probe, Scripted, Verb, poll_once};
use tokio::time::{Instant, advance};

use crate::support::{Event, Server, bounded, get_now, settle};

#[tokio::test(start_paused = true)]
async fn get_waits_5_seconds_for_a_guard_and_names_its_holder() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let (guard, line) = (get_now_at(&lazy), line!());
    let began = Instant::now();
    let error = bounded(lazy.get()).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert!(error.is_timeout());
    assert_eq!((error.stage(), error.elapsed().unwrap().as_secs()), (Some(Stage::Waiting), 5));
    let holder = error.holder().unwrap();
    assert!(holder.file().ends_with("lending.rs"));
    assert_eq!(holder.line(), line);
    let advice = format!(
        "timed out after 5.0 s while waiting: a guard of this request, taken at {}:{line}, is still held: drop it \
         first, or pass it on as `&mut`",
        file!()
    );
    assert_eq!(error.to_string(), advice);
    assert_eq!((server.stats().lent_too_long, server.events.count(Event::LentTooLong)), (1, 1));
    drop(guard);
    drop(get_now(&lazy));
}

/// Lends the idle handle, with the caller's line as the line of the loan.
#[track_caller]
fn get_now_at(lazy: &Lazy<Probe>) -> Guard<Probe> {
    drop(get_now(lazy));
    lazy.try_get().unwrap()
}

#[tokio::test(start_paused = true)]
async fn lend_timeout_restarts_with_each_loan() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let users: Vec<_> = (0..50)
        .map(|_| {
            let lazy = lazy.clone();
            tokio::spawn(async move {
                let guard = lazy.get().await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
                drop(guard);
                Ok::<_, Error<Scripted>>(())
            })
        })
        .collect();
    for user in users {
        user.await.unwrap().unwrap();
    }
    assert_eq!(server.stats().lent_too_long, 0);
}

/// A handle that has just been acquired is lent with the line and the number of its loan, like an idle one.
#[tokio::test(start_paused = true)]
async fn first_loan_of_a_new_handle_starts_its_own_timeout() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let (first, line) = (get_now(&lazy), line!());
    let holder = bounded(lazy.get()).await.unwrap_err().holder().unwrap();
    assert_eq!((holder.file().ends_with("lending.rs"), holder.line()), (true, line));

    let (mut next, mut waiter) = (pin!(lazy.get()), pin!(lazy.get()));
    assert!(poll_once(next.as_mut()).is_pending());
    assert!(poll_once(waiter.as_mut()).is_pending());
    advance(Duration::from_secs(3)).await;
    drop(Guard::detach(first));
    let Poll::Ready(Ok(second)) = poll_once(next.as_mut()) else { panic!("it is the next one") };
    assert!(poll_once(waiter.as_mut()).is_pending());
    advance(Duration::from_secs(3)).await;
    assert!(poll_once(waiter.as_mut()).is_pending(), "no guard was held for 5 seconds");
    drop(second);
    assert!(poll_once(waiter.as_mut()).is_ready());
}

#[tokio::test(start_paused = true)]
async fn lend_timeout_can_be_set_and_bounds_nothing_else() {
    let server = Server::configured(Probe::new(), |builder| builder.lend_timeout(Duration::from_secs(1)));
    server.probe.on(Verb::Acquire).next(reqscope_testkit::Outcome::ok().after(Duration::from_secs(20)));
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let began = Instant::now();
    let guard = lazy.get().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 20, "an acquisition has its own deadline");
    assert!(bounded(lazy.get()).await.unwrap_err().is_timeout());
    assert_eq!(began.elapsed().as_secs(), 21);
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn timed_out_get_leaves_the_queue() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut get = pin!(lazy.get());
    assert!(bounded(get.as_mut()).await.unwrap_err().is_timeout());
    drop(guard);
    drop(get_now(&lazy)); // Succeeds at its first poll, because the queue is empty.
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_leaves_the_queue() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut get = Box::pin(lazy.get());
    assert!(poll_once(get.as_mut()).is_pending());
    drop(get);
    drop(guard);
    drop(get_now(&lazy));
}

#[tokio::test(start_paused = true)]
async fn waiter_dropped_after_its_wake_up_blocks_no_other() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let second = tokio::spawn(lazy.get());
    let mut first = Box::pin(lazy.get());
    assert!(poll_once(first.as_mut()).is_pending());
    settle().await;
    drop(guard);
    drop(first);
    drop(second.await.unwrap().unwrap());
    assert_eq!(lazy.state(), LazyState::Ready);
}

#[tokio::test(start_paused = true)]
async fn ten_tasks_of_one_request_all_get_their_turn() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).slow(2);
    let scope = server.scopes.open();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let lazy = scope.lazy(&server.probe);
            tokio::spawn(async move {
                for _ in 0..10 {
                    let mut guard = lazy.get().await.unwrap();
                    tokio::task::yield_now().await;
                    guard.use_once();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(server.probe.record(0).uses, 100);
    drop(scope);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn subject_names_the_resource_and_the_calling_line() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let (guard, line) = (lazy.get().await.unwrap(), line!());
    let subject = server.events.subject(Event::Acquired);
    assert_eq!(subject.resource, std::any::type_name::<Probe>());
    assert_eq!(subject.taken_at.line(), line);
    let lease = Guard::detach(guard);
    assert_eq!(Lease::taken_at(&lease).line(), line);
    assert!(Arc::ptr_eq(Lease::resource(&lease), &server.probe));
    drop((lease, scope));
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn try_get_does_not_queue() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let mut waiting = pin!(lazy.get());
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(guard);
    let guard = lazy.try_get().expect("the handle is idle, although a waiter was woken for it");
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(guard);
    assert!(poll_once(waiting).is_ready());
}

#[tokio::test(start_paused = true)]
async fn mapped_guard_shows_a_part_and_returns_the_whole() {
    type Pair = (u32, Vec<u8>);
    let scopes = Scopes::new();
    let pairs = Arc::new(resource_fn(|| async { Ok::<Pair, Error<Infallible>>((7, Vec::new())) }));
    let scope = scopes.open();
    let lazy = scope.lazy(&pairs);
    let mut part = Guard::map(lazy.get().await.unwrap(), |pair| pair.1.as_slice(), |pair| pair.1.as_mut_slice());
    assert_eq!((part.len(), part.iter_mut().count()), (0, 0));
    assert_eq!(format!("{part:?}"), "MappedGuard([])");
    assert_eq!(lazy.state(), LazyState::Lent);
    drop(part);
    let mut list = Guard::map(lazy.get().await.unwrap(), |pair| &pair.1, |pair| &mut pair.1);
    list.push(1);
    drop(list);
    assert_eq!(*get_now(&lazy), (7, vec![1]));
}

/// A mapped guard decides like the guard that it was made of: a drop with a dead handle fails the scope.
#[tokio::test(start_paused = true)]
async fn mapped_guard_with_a_dead_handle_fails_the_scope() {
    let server = Server::new();
    let scope = server.scopes.open();
    let part = Guard::map(get_now(&scope.lazy(&server.probe)), |handle| handle, |handle| handle);
    server.probe.set_health(Health::Dead);
    drop(part);
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed]);
}
