//! L12 and L18 for waiters on an acquisition that another caller began where it cannot end: on a runtime that is alive
//! but not driven, without a runtime, or on one without timers.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::error::Stage;
use reqscope::future::Get;
use reqscope::{Error, Lazy, Resource, Scopes};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::support::{Event, Server, bounded, get_now, real_time_runtime, runtime, settle};

/// A server whose acquisitions may take one second.
fn server() -> Server {
    Server::configured(Probe::new(), |builder| builder.acquire_timeout(Duration::from_secs(1)))
}

/// Begins an acquisition on a runtime that is not driven afterwards.
fn standing_still(lazy: &Lazy<Probe>) -> Runtime {
    let runtime = runtime();
    runtime.block_on(async { assert!(poll_once(pin!(lazy.get())).is_pending()) });
    runtime
}

/// The fault: the only deadline was in the task of the acquisition. After 10 s a `get` with a timeout of 1 s still
/// waited.
#[test]
fn waiter_gives_up_an_acquisition_on_an_undriven_runtime() {
    let (live, server) = (runtime(), server());
    server.probe.on(Verb::Acquire).next(Outcome::ok().after(Duration::from_millis(10)));
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let still = standing_still(&lazy);
    live.block_on(async {
        let began = Instant::now();
        let error = bounded(lazy.get()).await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(error.stage(), Some(Stage::Acquiring));
        assert_eq!(error.elapsed(), Some(began.elapsed()));
        assert!((1000..1015).contains(&began.elapsed().as_millis()), "{error}");
        assert!(error.to_string().contains("blocked or not driven"), "{error}");
        assert_eq!(server.events.count(Event::AcquireFailed), 1);
        drop(bounded(lazy.get()).await.unwrap());
        assert_eq!(server.stats().acquiring, 1, "the task of the first attempt still exists");
    });
    still.block_on(settle());
    let counts = server.probe.counts();
    assert_eq!((counts.acquires, counts.acquires_cut, counts.acquiring), (2, 1, 0));
    drop(scope);
    live.block_on(server.finish());
}

#[test]
fn other_waiters_begin_again_when_one_gives_up() {
    let (live, server) = (runtime(), server());
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let _still = standing_still(&lazy);
    live.block_on(async {
        let first = tokio::spawn(lazy.get());
        let others = [(); 3].map(|()| tokio::spawn(lazy.get()));
        assert!(bounded(first).await.unwrap().unwrap_err().is_timeout());
        for other in others {
            drop(bounded(other).await.unwrap().unwrap());
        }
    });
    assert_eq!(server.probe.counts().acquires, 2);
}

#[test]
fn error_of_the_acquisition_itself_comes_first() {
    let (first, second, server) = (runtime(), runtime(), server());
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut get = pin!(lazy.get());
    first.block_on(async { assert!(poll_once(get.as_mut()).is_pending()) });
    let mut waiter = pin!(lazy.get());
    second.block_on(async { assert!(poll_once(waiter.as_mut()).is_pending()) });
    let error = first.block_on(get).unwrap_err();
    let shared = second.block_on(waiter).unwrap_err();
    assert_eq!((error.elapsed(), error.to_string()), (shared.elapsed(), shared.to_string()));
    assert_eq!(server.events.count(Event::AcquireFailed), 1);
}

/// A wait that moves to another runtime keeps time there. The fault: the timer stayed on the runtime of its first poll.
#[test]
fn wait_that_moves_to_another_runtime_keeps_its_deadline() {
    let (still, live, server) = (runtime(), runtime(), server());
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let _guard = live.block_on(lazy.get()).unwrap();
    let mut get = Box::pin(lazy.get());
    still.block_on(async { assert!(poll_once(get.as_mut()).is_pending()) });
    let error = live.block_on(bounded(get)).unwrap_err();
    assert!(error.is_timeout() && error.holder().is_some(), "{error}");
}

/// A resource whose first acquisition lets another caller begin to wait, and then does what it is told.
struct Meanwhile {
    first: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    needs_timer: bool,
}

impl Resource for Meanwhile {
    type Handle = ();
    type Cause = Infallible;

    async fn acquire(&self) -> Result<(), Error<Infallible>> {
        let first = self.first.lock().take();
        if let Some(first) = first {
            first();
        }
        if self.needs_timer {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Calls `get` by `bad`, while a caller on a healthy runtime waits for the same attempt.
fn beside_a_good_caller(needs_timer: bool, bad: impl FnOnce(Lazy<Meanwhile>) -> Error<Infallible>) {
    type Waiting = Arc<Mutex<Option<Pin<Box<Get<Meanwhile>>>>>>;
    let (home, scope) = (runtime(), Scopes::new().open());
    let resource = Arc::new(Meanwhile { first: Mutex::new(None), needs_timer });
    let waiting = Waiting::default();
    let (lazy, handle, theirs) = (scope.lazy(&resource), home.handle().clone(), Arc::clone(&waiting));
    *resource.first.lock() = Some(Box::new(move || {
        // From another thread, because this one may be inside of another runtime.
        let waits = std::thread::spawn(move || {
            let mut get = Box::pin(lazy.get());
            handle.block_on(async { assert!(poll_once(get.as_mut()).is_pending()) });
            *theirs.lock() = Some(get);
        });
        waits.join().unwrap();
    }));
    let error = bad(scope.lazy(&resource));
    assert!(error.is_runtime() || error.is_panicked(), "{error}");
    let good = waiting.lock().take().unwrap();
    drop(home.block_on(bounded(good)).expect("the good caller begins an attempt of its own"));
}

fn first_poll(lazy: &Lazy<Meanwhile>) -> Error<Infallible> {
    match poll_once(pin!(lazy.get())) {
        Poll::Ready(Err(error)) => error,
        _ => panic!("the get waits or succeeds"),
    }
}

/// The fault, in these three: of 200 callers on a healthy runtime 136 got the error of one that had none.
#[test]
fn caller_without_a_runtime_fails_no_other() {
    beside_a_good_caller(false, |lazy| first_poll(&lazy));
}

#[test]
fn caller_without_timers_fails_no_other() {
    let bare = Builder::new_current_thread().build().unwrap();
    beside_a_good_caller(false, |lazy| bare.block_on(lazy.get()).unwrap_err());
}

#[test]
fn caller_whose_resource_misses_its_runtime_fails_no_other() {
    let bare = Builder::new_current_thread().build().unwrap();
    beside_a_good_caller(true, |lazy| bare.block_on(lazy.get()).unwrap_err());
    beside_a_good_caller(true, |lazy| first_poll(&lazy));
}

#[test]
fn waiter_without_a_runtime_does_not_wait() {
    let (home, server) = (runtime(), server());
    server.probe.on(Verb::Acquire).slow(1);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let mut get = pin!(lazy.get());
    home.block_on(async { assert!(poll_once(get.as_mut()).is_pending()) });
    let Poll::Ready(Err(error)) = poll_once(pin!(lazy.get())) else { panic!("the get waits or succeeds") };
    assert!(error.is_runtime(), "{error}");
    drop(home.block_on(get).unwrap());
}

/// tokio lets no other worker steal the task that a worker has spawned last, so the attempt does not run while the worker
/// that began it is busy with something else.
#[test]
fn waiter_keeps_its_deadline_beside_a_busy_worker() {
    let server = Server::configured(Probe::new(), |builder| builder.acquire_timeout(Duration::from_millis(100)));
    server.probe.on(Verb::Acquire).never();
    let threads = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let scope = server.scopes.open();
    let (beginner, waiter) = (scope.lazy(&server.probe), scope.lazy(&server.probe));
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let busy = threads.spawn(async move {
        let mut get = Box::pin(beginner.get());
        assert!(poll_once(get.as_mut()).is_pending());
        begun.send(()).unwrap();
        // Until the waiter has its result.
        released.recv().unwrap_err();
    });
    // Not in a task, which the busy worker would wake last and keep in turn.
    threads.block_on(async {
        has_begun.await.unwrap();
        assert!(waiter.get().await.unwrap_err().is_timeout());
        drop(release);
        busy.await.unwrap();
    });
}

/// The fault: a deadline trusted its timer alone, and no timer fires while nothing runs the runtime's driver. A task that
/// blocks its thread between two polls waited on after its deadline.
#[test]
fn deadline_is_kept_on_a_runtime_whose_timers_do_not_fire() {
    real_time_runtime().block_on(async {
        let lend = Duration::from_millis(20);
        let server = Server::configured(Probe::new(), |builder| builder.lend_timeout(lend));
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        let _guard = get_now(&lazy);
        let mut get = pin!(lazy.get());
        assert!(poll_once(get.as_mut()).is_pending());
        std::thread::sleep(2 * lend);
        let Poll::Ready(Err(error)) = poll_once(get.as_mut()) else { panic!("it waits on") };
        assert!(error.is_timeout(), "{error}");
    });
}
