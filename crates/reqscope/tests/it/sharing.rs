//! `Shared`: one handle for all users, replaced when it is dead, released when its last user drops it.

use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Health, Reaper, Shared, resource_fn};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::runtime::Builder;
use tokio::time::{advance, sleep};

use crate::hooked::{At, Hooked};
use crate::support::{Event, Server, bounded, runtime, settle};
use crate::watchdog::watch;

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
    let error = get.await.err().unwrap();
    assert!(error.is_closed());
    assert_eq!(error.to_string(), "Shared<Probe> was dropped: keep it for as long as it is used");
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

/// The fault: a `get` took the handle out of a cell for as long as it probed it, and all others waited for that. 16
/// tasks needed 792,000 polls for 400,000 gets.
#[test]
fn get_during_the_probe_of_another_is_ready() {
    let shared = Arc::new(OnceLock::<Weak<Shared<Arc<Hooked>>>>::new());
    let (in_probe, polls) = (Arc::clone(&shared), Arc::new(Mutex::new(Vec::new())));
    let outcomes = Arc::clone(&polls);
    let hooked = Hooked::new(move |at| {
        let (At::Probe, Some(shared)) = (at, in_probe.get().and_then(Weak::upgrade)) else { return };
        if outcomes.lock().is_empty() {
            outcomes.lock().push(false);
            let inner = poll_once(pin!(shared.get())).is_ready();
            outcomes.lock().push(inner);
        }
    });
    runtime().block_on(async {
        let owner = Arc::new(Shared::new(hooked));
        drop(owner.get().await.unwrap());
        shared.set(Arc::downgrade(&owner)).unwrap();
        drop(owner.get().await.unwrap());
    });
    assert_eq!(*polls.lock(), [false, true]);
}

#[test]
fn gets_of_sixteen_tasks_take_one_poll_each() {
    const TASKS: u64 = 16;
    const GETS: u64 = 5_000;
    watch();
    let threads = Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let polls = Arc::new(AtomicU64::new(0));
    threads.block_on(async {
        let shared = Arc::new(Shared::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) })));
        drop(shared.get().await.unwrap());
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (shared, polls) = (Arc::clone(&shared), Arc::clone(&polls));
                // The budget would add a poll to every 128th get.
                tokio::spawn(tokio::task::unconstrained(async move {
                    for _ in 0..GETS {
                        let mut get = shared.get();
                        let counted = poll_fn(|cx| {
                            polls.fetch_add(1, Ordering::Relaxed);
                            pin!(&mut get).poll(cx)
                        });
                        assert_eq!(*counted.await.unwrap(), 7);
                    }
                }))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(polls.load(Ordering::Relaxed), TASKS * GETS);
}

/// The fault: a million gets in a row ran no other task of their thread.
#[tokio::test(start_paused = true)]
async fn ready_gets_let_other_tasks_run() {
    let shared = Shared::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    let other = tokio::spawn(async {});
    for _ in 0..1_000 {
        shared.get().await.unwrap();
    }
    assert!(other.is_finished());
}

#[tokio::test(start_paused = true)]
async fn dead_handle_found_by_many_is_replaced_once() {
    let server = Server::new();
    let shared = shared(&server);
    drop(shared.get().await.unwrap());
    shared.get_ref().on(Verb::Acquire).close();
    shared.get_ref().set_health(Health::Dead);
    let mut gets: Vec<_> = (0..16).map(|_| Box::pin(shared.get())).collect();
    assert!(gets.iter_mut().all(|get| poll_once(get.as_mut()).is_pending()));
    shared.get_ref().set_health(Health::Ready);
    shared.get_ref().on(Verb::Acquire).ok();
    for get in gets {
        assert_eq!(get.await.unwrap().id(), 1);
    }
    drop(shared);
    server.finish().await;
    assert_eq!(server.order(), [0, 1]);
}

/// The fault: the deadline was kept by the task of the acquisition alone, on a runtime whose `block_on` had returned, so
/// that waiters on other runtimes waited without any limit.
#[test]
fn acquisition_on_an_undriven_runtime_is_given_up() {
    let (undriven, server) = (runtime(), Server::new());
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).never();
    undriven.block_on(async { assert!(poll_once(pin!(shared.get())).is_pending()) });
    runtime().block_on(async {
        let first = shared.get();
        let second = async {
            sleep(Duration::from_secs(10)).await;
            shared.get().await
        };
        let (first, second) = bounded(async { tokio::join!(first, second) }).await;
        let error = first.unwrap_err();
        assert_eq!(
            error.to_string(),
            "timed out after 60.0 s while acquiring: the runtime that began the acquisition is blocked or not driven"
        );
        assert!(error.is_timeout());
        assert_eq!(second.unwrap().id(), 0, "the other waiter begins the next attempt");
    });
    assert_eq!((server.stats().acquire_failed, server.events.count(Event::AcquireFailed)), (1, 1));
    undriven.block_on(settle());
    assert_eq!(server.probe.counts().acquires_cut, 1);
    drop(shared);
    runtime().block_on(server.finish());
}

/// The task of the acquisition blocks its thread, and so cannot be cancelled.
#[test]
fn handle_of_an_attempt_that_was_given_up_is_late() {
    let reaper = Reaper::new();
    let (entered, entries) = mpsc::channel();
    let (unblock, blocked) = mpsc::channel();
    let blocked = Arc::new(Mutex::new(Some(blocked)));
    watch();
    let shared = Arc::new(Shared::new_in(
        &reaper,
        resource_fn(move || {
            let (entered, blocked) = (entered.clone(), blocked.lock().take());
            async move {
                if let Some(blocked) = blocked {
                    tokio::task::yield_now().await;
                    entered.send(()).unwrap();
                    blocked.recv().unwrap();
                    return Ok::<_, Error<Infallible>>("first");
                }
                Ok("second")
            }
        }),
    ));
    let blocking = Arc::clone(&shared);
    let blocking = std::thread::spawn(move || runtime().block_on(async { *blocking.get().await.unwrap() }));
    entries.recv().unwrap();
    let other = runtime();
    let error = other.block_on(bounded(shared.get())).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(*other.block_on(shared.get()).unwrap(), "second");
    unblock.send(()).unwrap();
    assert_eq!(blocking.join().unwrap(), "second", "its own attempt was given up");
    drop(shared);
    assert!(other.block_on(reaper.drain(Duration::from_secs(1))).is_clean());
    let stats = reaper.stats();
    assert_eq!((stats.acquired, stats.late, stats.released, stats.acquire_failed), (2, 1, 2, 1));
}

#[test]
fn waiter_that_times_out_leaves_a_young_attempt_alone() {
    let (undriven, server) = (runtime(), Server::new());
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).never().next(Outcome::ok().after(Duration::from_secs(50)));
    undriven.block_on(async { assert!(poll_once(pin!(shared.get())).is_pending()) });
    runtime().block_on(async {
        let after = async |seconds| {
            sleep(Duration::from_secs(seconds)).await;
            shared.get().await
        };
        // The first one gives the first attempt up, at 60 s. The second one begins another, which ends at 110 s.
        let (first, second, third) = bounded(async { tokio::join!(after(0), after(30), after(80)) }).await;
        assert!(first.unwrap_err().is_timeout());
        let error = second.unwrap_err();
        assert_eq!(error.to_string(), "timed out after 60.0 s while acquiring");
        assert_eq!(third.unwrap().id(), 0);
    });
    assert_eq!((shared.get_ref().counts().acquires, server.stats().acquire_failed), (2, 1));
}

#[test]
fn attempt_lost_with_its_runtime_is_begun_again_by_a_waiter() {
    let (ending, other, server) = (runtime(), runtime(), Server::new());
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).never();
    let (mut owner, mut waiter) = (pin!(shared.get()), pin!(shared.get()));
    ending.block_on(async { assert!(poll_once(owner.as_mut()).is_pending()) });
    other.block_on(async { assert!(poll_once(waiter.as_mut()).is_pending()) });
    drop(ending);
    assert_eq!(other.block_on(waiter).unwrap().id(), 0);
    let error = other.block_on(owner).unwrap_err();
    assert!(error.is_runtime(), "{error}");
    assert_eq!(server.probe.counts().acquires, 2);
}

/// The fault: a caller without timers failed the good callers that had joined its attempt.
#[test]
fn caller_without_a_runtime_fails_only_itself() {
    let good = runtime();
    let waiter = Arc::new(Mutex::new(None::<Box<dyn FnOnce() + Send>>));
    let in_acquire = Arc::clone(&waiter);
    let shared = Arc::new(Shared::new(resource_fn(move || {
        let join = in_acquire.lock().take();
        async move {
            let Some(join) = join else { return Ok::<_, Error<Infallible>>(7) };
            join();
            std::future::pending().await
        }
    })));
    let mut get = Box::pin(shared.get());
    let joined = Arc::new(Mutex::new(None));
    let (to_join, runtime) = (Arc::clone(&joined), good.handle().clone());
    *waiter.lock() = Some(Box::new(move || {
        let _context = runtime.enter();
        assert!(poll_once(get.as_mut()).is_pending());
        *to_join.lock() = Some(get);
    }));
    let Poll::Ready(Err(error)) = poll_once(pin!(shared.get())) else { panic!("a wait without a deadline") };
    assert!(error.is_runtime(), "{error}");
    let joined = joined.lock().take().expect("it has joined the attempt");
    assert_eq!(*good.block_on(joined).unwrap(), 7);
}

#[test]
fn waiter_without_a_runtime_leaves_the_attempt_alone() {
    let (driven, server) = (runtime(), Server::new());
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).close();
    let mut get = pin!(shared.get());
    driven.block_on(async { assert!(poll_once(get.as_mut()).is_pending()) });
    let Poll::Ready(Err(error)) = poll_once(pin!(shared.get())) else { panic!("a wait without a deadline") };
    assert!(error.is_runtime(), "{error}");
    shared.get_ref().on(Verb::Acquire).ok();
    assert_eq!(driven.block_on(get).unwrap().id(), 0);
    assert_eq!(server.probe.counts().acquires, 1);
}

struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn dropped_waiters_leave_no_wakers() {
    let server = Server::new();
    let shared = shared(&server);
    shared.get_ref().on(Verb::Acquire).close();
    assert!(poll_once(pin!(shared.get())).is_pending());
    let counted = Arc::new(Counted);
    let waker = Waker::from(Arc::clone(&counted));
    for _ in 0..100 {
        assert!(pin!(shared.get()).poll(&mut Context::from_waker(&waker)).is_pending());
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(Arc::strong_count(&counted), 2);
}
