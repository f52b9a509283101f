//! L16 drain: what it waits for, what it reports, and what it leaves alone.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Guard, Lease, Reaper, Scopes, resource_fn};
use reqscope_testkit::{Outcome, Probe, Verb, Wakes, poll_once};
use tokio::time::{Instant, sleep};

use crate::support::{Server, get_now, settle};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn drain_of_an_idle_server_ends_at_once() {
    let server = Server::new();
    let report = server.scopes.drain(MINUTE).await;
    assert!(report.is_clean());
    assert_eq!((report.released, report.abandoned, report.waited), (0, 0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_open_scopes_and_pending_releases() {
    let server = Server::new();
    server.probe.on(Verb::Release).next(Outcome::ok().after(Duration::from_secs(3)));
    let scope = server.scopes.open();
    let probe = Arc::clone(&server.probe);
    tokio::spawn(async move {
        drop(get_now(&scope.lazy(&probe)));
        sleep(Duration::from_secs(10)).await;
        drop(scope);
    });
    let report = server.scopes.drain(MINUTE).await;
    assert!(report.is_clean());
    assert_eq!((report.released, report.waited.as_secs()), (1, 13));
}

#[tokio::test(start_paused = true)]
async fn drain_reports_what_is_left_at_its_deadline() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lent = get_now(&scope.lazy(&server.probe));
    let detached = Guard::detach(get_now(&server.scopes.open().lazy(&server.probe)));
    let report = server.scopes.drain(Duration::from_secs(2)).await;
    assert!(!report.is_clean());
    assert_eq!((report.open_scopes, report.live, report.released, report.abandoned), (1, 2, 0, 0));
    assert_eq!(report.waited.as_secs(), 2);

    drop(lent);
    scope.close(Exit::Completed).await.unwrap();
    let report = server.scopes.drain(Duration::from_secs(2)).await;
    assert_eq!((report.open_scopes, report.live, report.released), (0, 1, 0), "a detached lease counts too");
    Lease::complete(detached).await.unwrap();
    assert!(server.scopes.drain(Duration::ZERO).await.is_clean());
    assert_eq!(server.exits(), [Exit::Completed, Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn drain_reports_a_hanging_release_as_abandoned() {
    let server = Server::new();
    server.probe.on(Verb::Release).never();
    for _ in 0..2 {
        drop(get_now(&server.scopes.open().lazy(&server.probe)));
    }
    let report = server.scopes.drain(MINUTE).await;
    assert_eq!((report.released, report.abandoned, report.live), (1, 1, 0));
    assert_eq!(report.waited.as_secs(), 5);
    assert!(!report.is_clean(), "abandoned is not clean");
    server.assert_balanced();
}

#[tokio::test(start_paused = true)]
async fn drain_report_counts_only_what_ended_while_it_waited() {
    let server = Server::new();
    server.probe.on(Verb::Release).never().next(Outcome::ok().after(Duration::from_secs(3)));
    for ended in [(0, 1), (1, 0), (0, 0)] {
        if ended != (0, 0) {
            drop(get_now(&server.scopes.open().lazy(&server.probe)));
        }
        let report = server.scopes.drain(MINUTE).await;
        assert_eq!((report.released, report.abandoned), ended);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_handles_acquired_meanwhile() {
    let server = Server::new();
    let first = server.scopes.open();
    let drain = tokio::spawn(server.scopes.drain(MINUTE));
    settle().await;
    let lease = Lease::acquire_in(server.scopes.reaper(), &server.probe).await.unwrap();
    drop(first);
    settle().await;
    assert!(!drain.is_finished(), "a new handle is live");
    Lease::complete(lease).await.unwrap();
    assert_eq!(drain.await.unwrap().released, 1);
}

#[tokio::test(start_paused = true)]
async fn drain_woken_while_idle_sees_a_new_scope() {
    let server = Server::new();
    let first = server.scopes.open();
    let mut drain = pin!(server.scopes.drain(MINUTE));
    assert!(poll_once(drain.as_mut()).is_pending());
    drop(first); // This wakes the drain. Before it is polled, another scope opens.
    let second = server.scopes.open();
    assert!(poll_once(drain.as_mut()).is_pending());
    drop(second);
    assert!(poll_once(drain).is_ready());
}

#[tokio::test(start_paused = true)]
async fn every_drain_is_woken() {
    let server = Server::new();
    let scope = server.scopes.open();
    let wakes = [Wakes::new(), Wakes::new()];
    let mut drains = [Box::pin(server.scopes.drain(MINUTE)), Box::pin(server.scopes.drain(MINUTE))];
    for (drain, wakes) in drains.iter_mut().zip(&wakes) {
        let waker = wakes.waker();
        assert!(drain.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(scope);
    assert_eq!(wakes.map(|wakes| wakes.count()), [1, 1]);
}

/// A waker whose stored clones can be counted.
struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn repeated_polls_pile_up_no_wakers() {
    let server = Server::new();
    let scope = server.scopes.open();
    let _guard = get_now(&scope.lazy(&server.probe));
    let counted = Arc::new(Counted);
    let waker = Waker::from(Arc::clone(&counted));
    let mut context = Context::from_waker(&waker);
    let mut get = pin!(scope.lazy(&server.probe).get());
    let mut drain = pin!(server.scopes.drain(MINUTE));
    let mut closed = pin!(scope.handle().closed());
    for _ in 0..100 {
        assert!(get.as_mut().poll(&mut context).is_pending());
        assert!(drain.as_mut().poll(&mut context).is_pending());
        assert!(closed.as_mut().poll(&mut context).is_pending());
    }
    // The test's own two, and one each of the cell, its timer, the drain, its timer and the scope.
    assert!(Arc::strong_count(&counted) <= 7, "{}", Arc::strong_count(&counted));
}

type Waiting = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks that select on the end of their scope, and end before it. The fault: each left its waker behind until the scope
/// closed.
#[tokio::test(start_paused = true)]
async fn waiters_that_are_dropped_leave_no_wakers() {
    const TASKS: usize = 20_000;
    let server = Server::new();
    let scope = server.scopes.open();
    let mut waiting: Vec<(Waiting, Weak<Counted>)> = Vec::new();
    for _ in 0..TASKS {
        let (closed, drain) = (scope.handle().closed(), server.scopes.drain(MINUTE));
        let drained: Waiting = Box::pin(async { assert!(!drain.await.is_clean()) });
        for mut future in [Box::pin(closed), drained] {
            // A waker of its own for each, like that of a task.
            let counted = Arc::new(Counted);
            let waker = Waker::from(Arc::clone(&counted));
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            waiting.push((future, Arc::downgrade(&counted)));
        }
    }
    assert!(waiting.iter().all(|(_, waker)| waker.strong_count() > 0), "they wait");
    // In another order than that of their registration.
    let (odd, even): (Vec<_>, Vec<_>) = waiting.into_iter().enumerate().partition(|(number, _)| number % 3 == 0);
    let left = odd.into_iter().chain(even).map(|(_, (future, waker))| {
        drop(future);
        waker.strong_count()
    });
    assert_eq!(left.sum::<usize>(), 0);
    drop(scope);
    assert!(server.scopes.drain(MINUTE).await.is_clean());
}

/// A future that moves between tasks, as in a `FuturesUnordered`, wakes the task that polled it last.
#[tokio::test(start_paused = true)]
async fn waiter_wakes_the_task_that_polled_it_last() {
    let server = Server::new();
    let scope = server.scopes.open();
    let (mut closed, mut drain) = (pin!(scope.handle().closed()), pin!(server.scopes.drain(MINUTE)));
    let wakes = [Wakes::new(), Wakes::new()];
    for wakes in &wakes {
        let waker = wakes.waker();
        let mut context = Context::from_waker(&waker);
        assert!(closed.as_mut().poll(&mut context).is_pending());
        assert!(drain.as_mut().poll(&mut context).is_pending());
    }
    drop(scope);
    assert_eq!(wakes.map(|wakes| wakes.count()), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn dropped_drain_loses_only_its_report() {
    let server = Server::new();
    let scope = server.scopes.open();
    let mut drain = Box::pin(server.scopes.drain(MINUTE));
    assert!(poll_once(drain.as_mut()).is_pending());
    drop(drain);
    drop(scope);
    assert!(server.scopes.drain(MINUTE).await.is_clean());
}

#[test]
fn drain_of_an_idle_server_needs_no_runtime() {
    assert!(poll_once(pin!(Server::new().scopes.drain(MINUTE))).is_ready());
}

#[test]
fn drain_on_one_runtime_waits_for_work_on_another() {
    let server = Server::new();
    server.probe.on(Verb::Release).slow(3);
    let (probe, scopes) = (Arc::clone(&server.probe), server.scopes.clone());
    let (opened, is_open) = std::sync::mpsc::channel();
    let worker = std::thread::spawn(move || {
        crate::support::real_time_runtime().block_on(async {
            let scope = scopes.open();
            opened.send(()).unwrap();
            drop(scope.lazy(&probe).get().await.unwrap());
            scope.close(Exit::Completed).await.unwrap();
            scopes.drain(MINUTE).await;
        });
    });
    is_open.recv().unwrap();
    let report = crate::support::real_time_runtime().block_on(server.scopes.drain(MINUTE));
    assert!(report.is_clean());
    worker.join().unwrap();
    assert_eq!(server.stats().released, 1);
}

/// A cancelled acquisition stops at its next await, and may not reach one. The fault: its handle was released after a
/// drain had reported that all was clean.
#[tokio::test(start_paused = true)]
async fn drain_waits_for_an_acquisition_cancelled_during_a_poll() {
    let scopes = Scopes::new();
    let scope = Arc::new(Mutex::new(Some(scopes.open())));
    let clean_too_early = Arc::new(AtomicBool::new(false));
    let resource = Arc::new(resource_fn({
        let (scopes, scope, clean_too_early) = (scopes.clone(), Arc::clone(&scope), Arc::clone(&clean_too_early));
        move || {
            let (scopes, scope, clean_too_early) = (scopes.clone(), Arc::clone(&scope), Arc::clone(&clean_too_early));
            async move {
                tokio::task::yield_now().await; // The acquisition moves to its own task.
                drop(scope.lock().take());
                clean_too_early.store(poll_once(pin!(scopes.drain(MINUTE))).is_ready(), Ordering::Relaxed);
                Ok::<_, Error<Infallible>>(())
            }
        }
    }));
    let lazy = scope.lock().as_ref().unwrap().lazy(&resource);
    assert!(lazy.get().await.unwrap_err().is_closed());
    let report = scopes.drain(MINUTE).await;
    assert!(report.is_clean());
    assert!(!clean_too_early.load(Ordering::Relaxed));
    let stats = scopes.stats();
    assert_eq!((stats.late, stats.released, stats.acquiring), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn drain_counts_an_acquisition_under_way_at_its_deadline() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    assert!(poll_once(pin!(scope.lazy(&server.probe).get())).is_pending());
    let report = server.scopes.drain(Duration::from_secs(1)).await;
    assert_eq!((report.open_scopes, report.acquiring, report.live), (1, 1, 0));
    assert_eq!(server.stats().acquiring, 1);
    drop(scope);
    assert!(server.scopes.drain(MINUTE).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn custom_reaper_has_its_own_counters_and_deadlines() {
    let reaper = Reaper::builder().release_timeout(Duration::from_secs(1)).build();
    let probe = Arc::new(Probe::new());
    probe.on(Verb::Release).never();
    let lease = Lease::acquire_in(&reaper, &probe).await.unwrap();
    let began = Instant::now();
    assert!(Lease::complete(lease).await.unwrap_err().is_timeout());
    assert_eq!(began.elapsed().as_secs(), 1);
    drop(Lease::acquire_in(&reaper.clone(), &probe).await.unwrap());
    assert!(reaper.drain(MINUTE).await.is_clean());
    let stats = reaper.stats();
    assert_eq!((stats.acquired, stats.released, stats.abandoned), (2, 1, 1));
}
