//! L19 no foreign code under a lock: whatever calls back into the same scope finds nothing locked.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
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

/// Runs the scenario on a thread of its own, so that a deadlock fails instead of hanging.
fn without_deadlock<F: Future<Output = ()>>(scenario: impl FnOnce() -> F + Send + 'static) {
    let (done, over) = channel();
    let thread = std::thread::spawn(move || {
        runtime().block_on(scenario());
        done.send(()).unwrap();
    });
    match over.recv_timeout(Duration::from_secs(10)) {
        Err(RecvTimeoutError::Timeout) => panic!("deadlock"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => thread.join().unwrap(),
    }
}

/// Asks everything of a scope that can be asked without waiting.
#[derive(Clone, Default)]
struct CallBack {
    asks: Arc<OnceLock<Asks>>,
    asking: Arc<AtomicBool>,
}

type Asks = Box<dyn Fn() + Send + Sync>;

impl CallBack {
    fn aim_at<R: Resource>(&self, scopes: &Scopes, request: &ScopeHandle, resource: &Arc<R>) {
        let (scopes, request, lazy) = (scopes.clone(), request.clone(), request.lazy(resource));
        let other = Arc::new(Probe::new());
        let ask = move || {
            request.mark_failed();
            drop((lazy.state(), lazy.try_get(), format!("{lazy:?}")));
            let _seen = (request.is_closed(), request.deadline(), poll_once(pin!(request.closed())));
            drop((request.lazy(&other).try_get(), poll_once(pin!(lazy.get()))));
            drop((scopes.stats(), scopes.open(), poll_once(pin!(scopes.drain(Duration::ZERO)))));
        };
        assert!(self.asks.set(Box::new(ask)).is_ok(), "it is told once");
    }

    /// Once at a time: what it asks may have it called again.
    fn call(&self) {
        let Some(ask) = self.asks.get() else { return };
        if !self.asking.swap(true, Ordering::Relaxed) {
            ask();
            self.asking.store(false, Ordering::Relaxed);
        }
    }
}

impl Wake for CallBack {
    fn wake(self: Arc<Self>) {
        self.call();
    }
}

/// Its last clone too is foreign code.
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
        drop(lazy.get().await.unwrap_err()); // lent too long
        drop(scope.lazy(&Arc::new(probe.sibling())).get().await.unwrap()); // a second resource
        drop(scope); // still lent
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

/// An error whose last clone calls back.
struct Touchy(CallBack);

impl Drop for Touchy {
    fn drop(&mut self) {
        self.0.call();
    }
}

impl fmt::Debug for Touchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Touchy")
    }
}

impl fmt::Display for Touchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("touchy")
    }
}

impl StdError for Touchy {}

#[test]
fn cause_of_a_failure_may_call_back_when_it_is_dropped() {
    without_deadlock(|| async {
        let call_back = CallBack::default();
        let fails = Arc::new(reqscope::resource_fn({
            let call_back = call_back.clone();
            move || {
                let error = Error::failed(Touchy(call_back.clone()));
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
        drop(asleep); // with an answer that it never heard
        drop(scope.close(Exit::Completed).await);
    });
}

/// A resource whose acquisition, in its first poll, does something else first.
struct Meddling<F>(F);

impl<F: Fn() + Send + Sync + 'static> Resource for Meddling<F> {
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
    // What another thread may do at that moment, done on this one.
    let meddling = Arc::new_cyclic(|this: &std::sync::Weak<Meddling<Box<dyn Fn() + Send + Sync>>>| {
        let (this, request, waiting) = (this.clone(), Arc::clone(&request), Arc::clone(&waiting));
        Meddling(Box::new(move || {
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
    let lazy = scope.lazy(&meddling);
    let guard = get_now(&lazy);
    let (get, wakes) = waiting.lock().take().unwrap();
    assert!(wakes.count() > 0, "it has to look again, to begin its wait for the guard");
    assert!(get.await.unwrap_err().is_timeout());
    drop(guard);
}

#[tokio::test]
async fn handle_from_a_poll_that_closes_its_scope_is_never_lent() {
    for polls in [0, 1] {
        let scope: Arc<Mutex<Option<Scope>>> = Arc::default();
        let server = Server::new();
        let probe = Arc::clone(&server.probe);
        let resource = Arc::new(Suicidal { probe, scope: Arc::clone(&scope), polls });
        *scope.lock() = Some(server.scopes.open());
        let lazy: Lazy<_> = scope.lock().as_ref().unwrap().lazy(&resource);
        let error = lazy.get().await.unwrap_err();
        assert!(error.is_closed());
        assert_eq!(lazy.state(), LazyState::Closed);
        settle().await;
        assert_eq!(server.stats().late, 1, "it arrived all the same");
        assert_eq!(server.heard.count(crate::support::Event::Late), 1);
        assert_eq!(server.exits(), [Exit::Cancelled]);
        server.at_the_end().await;
    }
}

/// Ends its own scope while it acquires, and then succeeds: the handle arrives though the abort was sent.
struct Suicidal {
    probe: Arc<Probe>,
    scope: Arc<Mutex<Option<Scope>>>,
    polls: usize,
}

impl Resource for Suicidal {
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
