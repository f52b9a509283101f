//! What the core needs from a runtime, and the errors where something is missing.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use reqscope::observer::Abandoned;
use reqscope::scope::LazyState;
use reqscope::{Exit, Lazy, Lease};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::LocalSet;

use crate::support::{Event, Server, during_shutdown, get_now, runtime, settle};

fn without_timers() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Plays two requests in which everything has to wait: the first scope is closed, the second one dropped.
async fn two_requests(server: &Server) {
    server.probe.on(Verb::Acquire).slow(3).slow(3);
    server.probe.on(Verb::Release).slow(3).slow(3);
    let scope = server.scopes.open();
    scope.lazy(&server.probe).get().await.unwrap().use_once();
    scope.close(Exit::Completed).await.unwrap();
    let scope = server.scopes.open();
    scope.lazy(&server.probe).get().await.unwrap().use_once();
    drop(scope);
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed, Exit::Cancelled]);
    assert_eq!(server.stats().released, 2);
}

#[test]
fn scopes_work_on_both_runtime_flavors() {
    runtime().block_on(two_requests(&Server::with(Probe::new().settling())));
    let threads = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    threads.block_on(two_requests(&Server::with(Probe::new().settling())));
    threads.block_on(async { tokio::spawn(async { two_requests(&Server::new()).await }).await.unwrap() });
}

#[test]
fn scopes_work_inside_a_local_set() {
    runtime().block_on(async {
        let set = LocalSet::new();
        set.run_until(two_requests(&Server::with(Probe::new().settling()))).await;
        set.run_until(async {
            tokio::task::spawn_local(async { two_requests(&Server::new()).await }).await.unwrap();
        })
        .await;
    });
}

#[test]
fn drop_with_a_local_set_releases_on_its_runtime() {
    let (home, server) = (runtime(), Server::new());
    server.probe.on(Verb::Release).slow(2);
    home.block_on(async {
        let set = LocalSet::new();
        let scope = server.scopes.open();
        let probe = Arc::clone(&server.probe);
        set.spawn_local(async move {
            let _guard = get_now(&scope.lazy(&probe));
            std::future::pending::<()>().await;
        });
        set.run_until(settle()).await;
        drop(set);
        server.finish().await;
    });
    assert_eq!(server.stats().released, 1);
}

#[test]
fn several_runtimes_share_one_scope() {
    let (first, second, server) = (runtime(), runtime(), Server::with(Probe::new().settling()));
    server.probe.on(Verb::Acquire).slow(2);
    server.probe.on(Verb::Release).slow(2);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = first.block_on(lazy.get()).unwrap();
    let mut waiter = Box::pin(lazy.get());
    second.block_on(async { assert!(poll_once(waiter.as_mut()).is_pending()) });
    drop(guard);
    drop(second.block_on(waiter).unwrap());
    second.block_on(scope.close(Exit::Completed)).unwrap();
    second.block_on(server.finish());
    assert_eq!(server.stats().released, 1);
}

/// The fault: one caller on a runtime that ended made the attempt fail for all the others.
#[test]
fn acquisition_lost_with_its_runtime_is_begun_again() {
    let (first, second, server) = (runtime(), runtime(), Server::new());
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut waiter = pin!(lazy.get());
    first.block_on(async { assert!(poll_once(pin!(lazy.get())).is_pending()) });
    second.block_on(async { assert!(poll_once(waiter.as_mut()).is_pending()) });
    drop(first);
    assert_eq!(lazy.state(), LazyState::Unused);
    drop(second.block_on(waiter).unwrap());
    let counts = server.probe.counts();
    assert_eq!((counts.acquires, counts.acquires_cut, counts.acquiring), (2, 1, 0));
    assert_eq!(server.events.count(Event::AcquireFailed), 1, "the observer sees the lost attempt");
}

#[test]
fn caller_whose_acquisition_is_lost_gets_the_error() {
    let (first, second, server) = (runtime(), runtime(), Server::new());
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut get = pin!(lazy.get());
    first.block_on(async { assert!(poll_once(get.as_mut()).is_pending()) });
    drop(first);
    let error = second.block_on(get).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the async runtime is unusable while acquiring: the runtime that ran the acquisition has ended"
    );
    assert!(error.is_runtime() && !error.is_permanent());
    drop(second.block_on(lazy.get()).unwrap());
}

/// A runtime that shuts down refuses the task of the acquisition and drops it in place. The fault: a `get` that was not
/// queued yet did not notice, and began again and again: 778,649 acquisitions in 3 s, and a shutdown that hung.
#[test]
fn get_polled_during_shutdown_fails_at_once() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(1));
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let Poll::Ready(Err(error)) = during_shutdown(move || poll_once(pin!(lazy.get()))) else {
        panic!("the get waits or succeeds")
    };
    assert!(error.to_string().contains("the runtime that ran the acquisition has ended"), "{error}");
    assert_eq!(server.probe.counts().acquires, 1);
}

/// A waker that begins another `get`, on a live runtime.
struct GetAgain(Lazy<Probe>, Handle);

impl Wake for GetAgain {
    fn wake(self: Arc<Self>) {
        let GetAgain(lazy, runtime) = &*self;
        let _context = runtime.enter();
        assert!(poll_once(pin!(lazy.get())).is_pending());
    }
}

/// The attempt ends before its caller has registered how to cancel it. By then the next one may be under way.
#[test]
fn attempt_lost_with_its_runtime_does_not_cancel_the_next() {
    let (second, server) = (runtime(), Server::new());
    server.probe.on(Verb::Acquire).never().slow(1);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let waker = Waker::from(Arc::new(GetAgain(lazy.clone(), second.handle().clone())));
    let mut get = lazy.get();
    let outcome = during_shutdown(move || pin!(&mut get).poll(&mut Context::from_waker(&waker)));
    assert!(matches!(outcome, Poll::Ready(Err(_))));
    assert_eq!(lazy.state(), LazyState::Acquiring);
    second.block_on(lazy.get()).unwrap().use_once();
    assert_eq!(server.probe.counts().acquires, 2);
    assert_eq!(server.events.count(Event::AcquireFailed), 1);
}

#[test]
fn acquisition_that_waits_without_a_runtime_is_an_error() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).slow(1).slow(1);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let Poll::Ready(Err(error)) = poll_once(pin!(lazy.get())) else { panic!("the future waits or succeeds") };
    assert!(error.to_string().contains("not polled inside a tokio runtime"), "{error}");
    assert_eq!(server.probe.counts().acquires_cut, 1);
    let lease = Lease::acquire_in(server.scopes.reaper(), &server.probe);
    let Poll::Ready(Err(error)) = poll_once(pin!(lease)) else { panic!("the future waits or succeeds") };
    assert!(error.to_string().contains("not polled inside a tokio runtime"), "{error}");
    drop(get_now(&lazy)); // An acquisition that does not wait still works.
}

#[test]
fn waiting_for_a_guard_without_a_runtime_is_an_error() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let _guard = get_now(&lazy);
    let Poll::Ready(Err(error)) = poll_once(pin!(lazy.get())) else { panic!("the future waits or succeeds") };
    assert!(error.to_string().contains("not polled inside a tokio runtime"), "{error}");
    assert!(error.holder().is_some());
}

#[test]
fn waiting_on_a_runtime_without_timers_is_an_error() {
    let (server, sibling) = (Server::with(Probe::new().settling()), Probe::new());
    let sibling = Arc::new(sibling);
    sibling.on(Verb::Acquire).slow(1);
    server.probe.on(Verb::Release).slow(1).slow(1);
    without_timers().block_on(async {
        let scope = server.scopes.open();
        let error = scope.lazy(&sibling).get().await.unwrap_err();
        assert!(error.to_string().contains("has no timers"), "{error}");
        let guard = scope.lazy(&server.probe).get().await.unwrap();
        let error = scope.lazy(&server.probe).get().await.unwrap_err();
        assert!(error.to_string().contains("has no timers"), "{error}");
        drop(guard);

        let error = scope.close(Exit::Completed).await.unwrap_err();
        assert_eq!(error.problems().len(), 1);
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("has no timers"));

        let lease = Lease::acquire_in(server.scopes.reaper(), &server.probe).await.unwrap();
        let error = Lease::complete(lease).await.unwrap_err();
        assert!(error.to_string().contains("has no timers"), "{error}");
    });
    server.assert_balanced();
    assert_eq!(server.events.count(Event::Abandoned(Exit::Completed, Abandoned::NoRuntime)), 2);
}

/// The fault: the release was abandoned, although its own runtime could have run it.
#[test]
fn release_awaited_without_timers_moves_to_its_runtime() {
    for inside in [true, false] {
        let (home, server) = (runtime(), Server::with(Probe::new().settling()));
        server.probe.on(Verb::Release).slow(2).slow(2);
        let lease = home.block_on(Lease::acquire_in(server.scopes.reaper(), &server.probe)).unwrap();
        let scope = server.scopes.open();
        home.block_on(async { drop(get_now(&scope.lazy(&server.probe))) });
        let (release, close) = (Lease::complete(lease), scope.close(Exit::Completed));
        let (error, problem) = if inside {
            without_timers().block_on(async { (release.await.unwrap_err(), close.await.unwrap_err()) })
        } else {
            let Poll::Ready(outcome) = poll_once(pin!(release)) else { panic!("it waits without a deadline") };
            let Poll::Ready(closed) = poll_once(pin!(close)) else { panic!("it waits without a deadline") };
            (outcome.unwrap_err(), closed.unwrap_err())
        };
        assert!(error.is_runtime(), "{error}");
        assert!(problem.is_unknown_outcome(), "{problem}");
        assert_eq!(server.stats().pending_releases, 2);
        home.block_on(server.finish());
        assert_eq!(server.exits(), [Exit::Completed, Exit::Completed]);
        assert_eq!((server.stats().released, server.stats().abandoned), (2, 0));
    }
}

#[test]
fn handles_of_two_runtimes_are_released_in_order() {
    let (first, second, server) = (runtime(), runtime(), Server::new());
    let other = Arc::new(server.probe.sibling());
    let scope = server.scopes.open();
    first.block_on(async { drop(get_now(&scope.lazy(&server.probe))) });
    second.block_on(async { drop(get_now(&scope.lazy(&other))) });
    second.block_on(async {
        drop(scope);
        server.finish().await;
    });
    assert_eq!(server.order(), [1, 0]);
}

#[test]
fn runtime_without_timers_serves_what_needs_no_waiting() {
    let server = Server::with(Probe::new().settling());
    without_timers().block_on(async {
        let open = server.scopes.open();
        let report = server.scopes.drain(Duration::from_secs(1)).await;
        assert_eq!(report.open_scopes, 1);
        drop(get_now(&open.lazy(&server.probe)));
        open.close(Exit::Completed).await.unwrap();
        assert!(server.scopes.drain(Duration::from_secs(1)).await.is_clean());
    });
    assert_eq!(server.stats().released, 1);
}

#[test]
fn deadline_holds_on_the_runtime_a_release_moves_to() {
    let (home, other) = (runtime(), runtime());
    let server = Server::new();
    server.probe.on(Verb::Release).never();
    let lease = home.block_on(Lease::acquire_in(server.scopes.reaper(), &server.probe)).unwrap();
    let mut release = Box::pin(Lease::complete(lease));
    home.block_on(async { assert!(poll_once(release.as_mut()).is_pending()) });
    drop(home);
    let error = other.block_on(release).unwrap_err();
    assert!(error.is_timeout());
    server.assert_balanced();
}
