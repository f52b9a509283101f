//! `Shared`: one handle for all users, replaced when it is dead, released when its last user drops it.

use std::any::Any;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Health, Reaper, Shared, resource_fn};
use reqscope_testkit::{Probe, Verb, poll_once};

use crate::support::{Server, settle};

/// Creates a shared resource that is counted by the server.
fn shared(server: &Server) -> Shared<Probe> {
    Shared::new_in(server.scopes.reaper(), server.probe.sibling())
}

#[tokio::test(start_paused = true)]
async fn concurrent_gets_share_one_acquisition_and_one_handle() {
    let server = Server::new();
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).slow(3);
    let (first, second) = tokio::join!(shared.get(), shared.get());
    let (first, second, third) = (first.unwrap(), second.unwrap(), shared.get().await.unwrap());
    assert_eq!([first.id(), second.id(), third.id()], [0; 3]);
    assert_eq!(server.probe.counts().acquires, 1);
    drop((first, second, third, shared));
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn get_of_a_ready_resource_is_ready_at_its_first_poll() {
    let server = Server::new();
    let shared = shared(&server);
    let Poll::Ready(Ok(first)) = poll_once(pin!(shared.get())) else { panic!("the get waits or fails") };
    let Poll::Ready(Ok(second)) = poll_once(pin!(shared.get())) else { panic!("the get waits or fails") };
    assert_eq!((first.id(), second.id()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn failure_is_shared_by_waiters_and_not_remembered() {
    let server = Server::new();
    let shared = shared(&server);
    let gate = shared.get_ref().on(Verb::Acquire);
    gate.error().close();
    shared.get().await.unwrap_err();
    let (first, second) = tokio::join!(shared.get(), async {
        let get = shared.get();
        settle().await;
        gate.error();
        get.await
    });
    assert!(first.is_err());
    gate.ok().ok();
    drop((second, shared.get().await.unwrap()));
    assert_eq!(server.stats().acquire_failed, gate.calls() - server.stats().acquired);
}

#[tokio::test(start_paused = true)]
async fn dead_handle_is_replaced_once_and_kept_by_its_users() {
    let server = Server::new();
    let shared = shared(&server);
    let old = shared.get().await.unwrap();
    shared.get_ref().set_health(Health::Dead);
    shared.get_ref().on(Verb::Acquire).close();
    let mut get = pin!(shared.get());
    assert!(poll_once(get.as_mut()).is_pending());
    shared.get_ref().set_health(Health::Ready);
    shared.get_ref().on(Verb::Acquire).ok();
    let new = get.await.unwrap();
    assert_eq!((old.id(), new.id(), shared.get().await.unwrap().id()), (0, 1, 1));
    settle().await;
    assert_eq!(server.order(), []);
    drop(old);
    settle().await;
    assert_eq!(server.order(), [0]);
    drop((new, shared));
    server.finish().await;
    assert_eq!(server.order(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn new_handle_that_is_dead_at_once_is_an_error() {
    let server = Server::new();
    let shared = shared(&server);
    shared.get_ref().set_health(Health::Dead);
    let Err(error) = shared.get().await else { panic!("the get returned a dead handle") };
    assert!(error.is_unavailable());
    assert_eq!(error.to_string(), "the backend is unavailable: a new handle was already dead");
    server.finish().await;
    assert_eq!(server.probe.counts().acquires, 2);
}

#[tokio::test(start_paused = true)]
async fn dropped_get_leaves_the_acquisition_to_the_next() {
    let server = Server::new();
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).close();
    assert!(poll_once(pin!(shared.get())).is_pending());
    shared.get_ref().on(Verb::Acquire).ok();
    settle().await;
    let Poll::Ready(Ok(handle)) = poll_once(pin!(shared.get())) else { panic!("the get waits for the dropped one") };
    assert_eq!((handle.id(), server.probe.counts().acquires), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn shared_dropped_while_acquiring_answers_its_waiters() {
    let server = Server::new();
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).never();
    let mut get = pin!(shared.get());
    assert!(poll_once(get.as_mut()).is_pending());
    drop(shared);
    assert!(get.await.is_err_and(|error| error.is_closed()));
    server.finish().await;
    assert_eq!(server.probe.counts().acquires_cut, 1);
}

#[tokio::test(start_paused = true)]
async fn handle_arriving_after_the_drop_is_released_as_late() {
    let reaper = Reaper::new();
    let owner = Arc::new(Mutex::new(None::<Box<dyn Any + Send>>));
    let in_resource = Arc::clone(&owner);
    let resource = resource_fn(move || {
        // The acquisition does not wait after this, so it cannot be cancelled.
        drop(in_resource.lock().take());
        async { Ok::<_, Error<Infallible>>(()) }
    });
    let shared = Shared::new_in(&reaper, resource);
    let get = shared.get();
    *owner.lock() = Some(Box::new(shared));
    assert!(get.await.is_err_and(|error| error.is_closed()));
    assert!(reaper.drain(Duration::from_secs(1)).await.is_clean());
    let stats = reaper.stats();
    assert_eq!((stats.acquired, stats.late, stats.released), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn last_user_releases_the_handle_after_its_owner() {
    let server = Server::new();
    let shared = shared(&server);
    let first = shared.get().await.unwrap();
    let last = first.clone();
    drop((shared, first));
    settle().await;
    assert_eq!((last.id(), server.order()), (0, vec![]));
    drop(last);
    server.finish().await;
    assert_eq!(server.order(), [0]);
}
