//! L19 no user code under a lock: user code may call back into the same scope.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::{Abandoned, Subject};
use reqscope::scope::LazyState;
use reqscope::{Error, Exit, Guard, Lazy, Lease, Observer, Resource, Scope, ScopeHandle, Scopes};
use reqscope_testkit::{Probe, Verb, Wakes, poll_once};

use crate::hooked::{At, Hooked};
use crate::support::{Server, get_now, runtime, settle};
use crate::watchdog::watch;

/// Runs the scenario. A deadlock in it hangs, until the watchdog ends the process.
fn without_deadlock<F: Future<Output = ()>>(scenario: impl FnOnce() -> F) {
    watch();
    runtime().block_on(scenario());
}

/// Calls every method of a scope that does not wait.
#[derive(Clone, Default)]
struct CallBack {
    calls: Arc<OnceLock<Calls>>,
    calling: Arc<AtomicBool>,
}

type Calls = Box<dyn Fn() + Send + Sync>;

impl CallBack {
    fn aim_at<R: Resource>(&self, scopes: &Scopes, request: &ScopeHandle, resource: &Arc<R>) {
        let (scopes, request, lazy) = (scopes.clone(), request.clone(), request.lazy(resource));
        let other = Arc::new(Probe::new());
        let calls = move || {
            request.mark_failed();
            drop((lazy.state(), lazy.try_get(), format!("{lazy:?}")));
            let _seen = (request.is_closed(), request.deadline(), poll_once(pin!(request.closed())));
            drop((request.lazy(&other).try_get(), poll_once(pin!(lazy.get()))));
            drop((scopes.stats(), scopes.open(), poll_once(pin!(scopes.drain(Duration::ZERO)))));
        };
        assert!(self.calls.set(Box::new(calls)).is_ok(), "aimed once");
    }

    /// Makes the calls, unless they are under way already: one of them may lead back here.
    fn call(&self) {
        let Some(calls) = self.calls.get() else { return };
        if !self.calling.swap(true, Ordering::Relaxed) {
            calls();
            self.calling.store(false, Ordering::Relaxed);
        }
    }
}

impl Wake for CallBack {
    fn wake(self: Arc<Self>) {
        self.call();
    }
}

/// A waker that also calls back when its last clone is dropped.
struct Dropping(CallBack);

impl Wake for Dropping {
    fn wake(self: Arc<Self>) {
        self.0.call();
    }
}

impl Drop for Dropping {
    fn drop(&mut self) {
        self.0.call();
    }
}

impl Observer for CallBack {
    fn acquired(&self, _: Subject, _: Duration) {
        self.call();
    }

    fn acquire_failed(&self, _: Subject, _: &(dyn StdError + 'static)) {
        self.call();
    }

    fn late(&self, _: Subject) {
        self.call();
    }

    fn lent_too_long(&self, _: Subject, _: &'static Location<'static>) {
        self.call();
    }

    fn released(&self, _: Subject, _: Exit) {
        self.call();
    }

    fn release_failed(&self, _: Subject, _: Exit, _: &(dyn StdError + 'static)) {
        self.call();
    }

    fn abandoned(&self, _: Subject, _: Exit, _: Abandoned) {
        self.call();
    }

    fn still_lent(&self, _: Subject) {
        self.call();
    }

    fn second_resource(&self, _: &'static str) {
        self.call();
    }
}

#[test]
fn every_verb_of_a_resource_may_call_back_into_its_scope() {
    for at in At::ALL {
        without_deadlock(move || async move {
            let call_back = CallBack::default();
            let hooked = Hooked::new({
                let call_back = call_back.clone();
                move |here| {
                    if here == at {
                        call_back.call();
                    }
                }
            });
            let scopes = Scopes::new();
            let scope = scopes.open();
            call_back.aim_at(&scopes, scope.handle(), &hooked);
            let lazy = scope.lazy(&hooked);
            drop(lazy.get().await.unwrap());
            drop(Guard::detach(lazy.get().await.unwrap()));
            drop(lazy.get().await.unwrap());
            drop(lazy.try_get());
            drop(scope.close(Exit::Completed).await);
            scopes.drain(Duration::from_secs(5)).await;
        });
    }
}

#[test]
fn every_observer_event_may_call_back_into_its_scope() {
    without_deadlock(|| async {
        let call_back = CallBack::default();
        let scopes =
            Scopes::builder().observer(call_back.clone()).lend_timeout(Duration::ZERO).close_timeout(Duration::ZERO);
        let scopes = scopes.build();
        let probe = Arc::new(Probe::new());
        let scope = scopes.open();
        call_back.aim_at(&scopes, scope.handle(), &probe);
        let lazy = scope.lazy(&probe);
        probe.on(Verb::Acquire).error();
        drop(lazy.get().await.unwrap_err());
        let guard = lazy.get().await.unwrap();
        drop(lazy.get().await.unwrap_err()); // Reports `lent_too_long`.
        drop(scope.lazy(&Arc::new(probe.sibling())).get().await.unwrap()); // Reports `second_resource`.
        drop(scope); // Reports `still_lent`.
        probe.on(Verb::Release).never().error();
        drop(guard);
        drop(Lease::acquire_in(scopes.reaper(), &probe).await.unwrap());
        let report = scopes.drain(Duration::from_secs(5)).await;
        assert!(report.abandoned > 0);
    });
}

#[test]
fn waker_may_call_back_when_it_is_woken_or_dropped() {
    without_deadlock(|| async {
        let (call_back, server) = (CallBack::default(), Server::new());
        let scope = server.scopes.open();
        call_back.aim_at(&server.scopes, scope.handle(), &server.probe);
        let lazy = scope.lazy(&server.probe);
        let guard = get_now(&lazy);

        let waker = || Waker::from(Arc::new(Dropping(call_back.clone())));
        let mut get = Box::pin(lazy.get());
        for _ in 0..2 {
            assert!(get.as_mut().poll(&mut Context::from_waker(&waker())).is_pending());
        }
        let mut cut = Box::pin(lazy.get());
        assert!(cut.as_mut().poll(&mut Context::from_waker(&waker())).is_pending());
        drop(cut);
        let mut closed = pin!(scope.handle().closed());
        let mut drain = pin!(server.scopes.drain(Duration::from_secs(1)));
        for _ in 0..2 {
            assert!(closed.as_mut().poll(&mut Context::from_waker(&waker())).is_pending());
            assert!(drain.as_mut().poll(&mut Context::from_waker(&waker())).is_pending());
        }
        drop(guard);
        drop(get.await.unwrap());
        drop(scope.close(Exit::Completed).await);
        closed.await;
        server.scopes.drain(Duration::from_secs(5)).await;
    });
}

/// A cause that calls back when its last clone is dropped.
struct CallingCause(CallBack);

impl Drop for CallingCause {
    fn drop(&mut self) {
        self.0.call();
    }
}

impl fmt::Debug for CallingCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallingCause")
    }
}

impl fmt::Display for CallingCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cause that calls back")
    }
}

impl StdError for CallingCause {}

#[test]
fn cause_of_a_failure_may_call_back_when_it_is_dropped() {
    without_deadlock(|| async {
        let call_back = CallBack::default();
        let fails = Arc::new(reqscope::resource_fn({
            let call_back = call_back.clone();
            move || {
                let error = Error::failed(CallingCause(call_back.clone()));
                async move {
                    tokio::task::yield_now().await;
                    Err::<(), _>(error)
                }
            }
        }));
        let scopes = Scopes::new();
        let scope = scopes.open();
        call_back.aim_at(&scopes, scope.handle(), &fails);
        let lazy = scope.lazy(&fails);
        let mut asleep = Box::pin(lazy.get());
        assert!(poll_once(asleep.as_mut()).is_pending());
        for _ in 0..3 {
            drop(lazy.get().await.unwrap_err());
        }
        drop(asleep); // Its error was never returned.
        drop(scope.close(Exit::Completed).await);
    });
}

/// A resource whose acquisition runs a closure in its first poll.
struct RunsFirst<F>(F);

impl<F: Fn() + Send + Sync + 'static> Resource for RunsFirst<F> {
    type Handle = ();
    type Cause = std::convert::Infallible;

    async fn acquire(&self) -> Result<(), Error<Self::Cause>> {
        (self.0)();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn get_begun_during_the_first_poll_has_a_lend_timeout() {
    type Shared = Arc<Mutex<Option<ScopeHandle>>>;
    let (request, waiting) = (Shared::default(), Arc::new(Mutex::new(None)));
    // Stands in for another thread that calls `get` at that moment.
    let resource = Arc::new_cyclic(|this: &std::sync::Weak<RunsFirst<Box<dyn Fn() + Send + Sync>>>| {
        let (this, request, waiting) = (this.clone(), Arc::clone(&request), Arc::clone(&waiting));
        RunsFirst(Box::new(move || {
            let request = request.lock().clone().unwrap();
            let mut get = Box::pin(request.lazy(&this.upgrade().unwrap()).get());
            let wakes = Wakes::new();
            let waker = wakes.waker();
            assert!(get.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            *waiting.lock() = Some((get, wakes));
        }) as Box<dyn Fn() + Send + Sync>)
    });
    let scope = Scopes::new().open();
    *request.lock() = Some(scope.handle().clone());
    let lazy = scope.lazy(&resource);
    let guard = get_now(&lazy);
    let (get, wakes) = waiting.lock().take().unwrap();
    assert!(wakes.count() > 0, "it must be polled again, to start its timeout for the guard");
    assert!(get.await.unwrap_err().is_timeout());
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn handle_from_a_poll_that_closes_its_scope_is_never_lent() {
    for polls in [0, 1] {
        let scope: Arc<Mutex<Option<Scope>>> = Arc::default();
        let server = Server::new();
        let probe = Arc::clone(&server.probe);
        let resource = Arc::new(ClosesItsScope { probe, scope: Arc::clone(&scope), polls });
        *scope.lock() = Some(server.scopes.open());
        let lazy: Lazy<_> = scope.lock().as_ref().unwrap().lazy(&resource);
        let error = lazy.get().await.unwrap_err();
        assert!(error.is_closed());
        assert_eq!(lazy.state(), LazyState::Closed);
        settle().await;
        assert_eq!(server.stats().late, 1, "the handle arrived");
        assert_eq!(server.events.count(crate::support::Event::Late), 1);
        assert_eq!(server.exits(), [Exit::Cancelled]);
        server.finish().await;
    }
}

/// A resource that closes its own scope while it acquires, and then succeeds although it was aborted.
struct ClosesItsScope {
    probe: Arc<Probe>,
    scope: Arc<Mutex<Option<Scope>>>,
    polls: usize,
}

impl Resource for ClosesItsScope {
    type Handle = <Probe as Resource>::Handle;
    type Cause = <Probe as Resource>::Cause;

    async fn acquire(&self) -> Result<Self::Handle, Error<Self::Cause>> {
        for _ in 0..self.polls {
            tokio::task::yield_now().await;
        }
        drop(self.scope.lock().take());
        self.probe.acquire().await
    }

    fn release(
        &self,
        handle: Self::Handle,
        exit: Exit,
    ) -> impl Future<Output = Result<(), Error<Self::Cause>>> + Send {
        self.probe.release(handle, exit)
    }
}
