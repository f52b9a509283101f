//! L15: values of the user whose `Drop` panics, in every place where the core drops one.
#![expect(clippy::async_yields_async, reason = "the futures are made to be dropped")]

use std::error::Error as StdError;
use std::fmt;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use reqscope::observer::Subject;
use reqscope::wrap::RetryPolicy;
use reqscope::{
    BoxResource, Error, Exit, Guard, Health, Lease, Observer, Pool, Reaper, Resource, ResourceExt, Scope, Scopes,
    Shared,
};
use reqscope_testkit::{expect_panic, poll_once, quiet_panic};

use crate::support::{runtime, settle};
use crate::watchdog::watch;

/// A value whose `Drop` panics, if it is armed.
#[derive(Debug)]
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 {
            quiet_panic("a value of the user goes off");
        }
    }
}

/// Which value of the user panics when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Resource,
    Handle,
    Cause,
    AcquireFuture,
    ValidateFuture,
    ReleaseFuture,
}

impl Part {
    const ALL: [Part; 6] =
        [Part::Resource, Part::Handle, Part::Cause, Part::AcquireFuture, Part::ValidateFuture, Part::ReleaseFuture];
}

/// What the resource does.
#[derive(Clone, Copy, Debug)]
struct Script {
    acquire: Answer,
    validate: Answer,
    release: Answer,
    settles: bool,
    /// Whether the probe returns [`Health::Unknown`].
    unknown: bool,
}

impl Script {
    const PLAIN: Script = Script {
        acquire: Answer::Soon,
        validate: Answer::Soon,
        release: Answer::Soon,
        settles: false,
        unknown: false,
    };
    const SETTLING: Script = Script { settles: true, ..Script::PLAIN };
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Soon,
    Fails,
    FailsSoon,
    Never,
}

struct Explosive {
    part: Part,
    script: Script,
    _bomb: Bomb,
}

impl Explosive {
    fn new(part: Part, script: Script) -> Self {
        Explosive { part, script, _bomb: Bomb(part == Part::Resource) }
    }

    fn bomb(&self, part: Part) -> Bomb {
        Bomb(self.part == part)
    }

    async fn answer(&self, answer: Answer, future: Part) -> Result<(), Error<Burnt>> {
        if answer == Answer::Never {
            // Goes off when the future is dropped.
            let _bomb = self.bomb(future);
            return pending().await;
        }
        if answer != Answer::Fails {
            tokio::task::yield_now().await;
        }
        match answer {
            Answer::Soon | Answer::Never => Ok(()),
            Answer::Fails | Answer::FailsSoon => Err(Burnt(self.bomb(Part::Cause)).into()),
        }
    }
}

#[derive(Debug)]
struct Burnt(#[expect(dead_code, reason = "it is only dropped")] Bomb);

impl fmt::Display for Burnt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("burnt")
    }
}

impl StdError for Burnt {}

impl Resource for Explosive {
    type Handle = Bomb;
    type Cause = Burnt;

    async fn acquire(&self) -> Result<Bomb, Error<Burnt>> {
        self.answer(self.script.acquire, Part::AcquireFuture).await?;
        Ok(self.bomb(Part::Handle))
    }

    async fn validate(&self, _: &mut Bomb) -> Result<(), Error<Burnt>> {
        self.answer(self.script.validate, Part::ValidateFuture).await
    }

    async fn release(&self, _handle: Bomb, _: Exit) -> Result<(), Error<Burnt>> {
        self.answer(self.script.release, Part::ReleaseFuture).await
    }

    fn probe(&self, _: &Bomb) -> Health {
        if self.script.unknown { Health::Unknown } else { Health::Ready }
    }

    fn settles(&self, _: Exit) -> bool {
        self.script.settles
    }
}

type Value = Box<dyn Send>;
type Make = Box<dyn Fn(Scopes, Part) -> Pin<Box<dyn Future<Output = Value>>>>;
type Owner = (&'static str, Make);

fn owner<T: Send + 'static>(name: &'static str, make: impl AsyncFn(Scopes, Part) -> T + 'static) -> Owner {
    let make = Arc::new(make);
    let boxed = move |scopes, part| {
        let make = Arc::clone(&make);
        let value: Pin<Box<dyn Future<Output = Value>>> =
            Box::pin(async move { Box::new(make(scopes, part).await) as Value });
        value
    };
    (name, Box::new(boxed))
}

const NEVER: Script = Script { acquire: Answer::Never, ..Script::PLAIN };

fn plain(part: Part) -> Arc<Explosive> {
    scripted(part, Script::PLAIN)
}

fn scripted(part: Part, script: Script) -> Arc<Explosive> {
    Arc::new(Explosive::new(part, script))
}

/// Makes a scope that has used the resource.
async fn used<R: Resource>(scopes: &Scopes, resource: Arc<R>) -> Scope {
    let scope = scopes.open();
    drop(scope.lazy(&resource).get().await);
    scope
}

async fn lease<R: Resource>(scopes: &Scopes, resource: Arc<R>) -> Lease<R> {
    Lease::acquire_in(scopes.reaper(), &resource).await.unwrap()
}

/// Polls the future once; it has to wait.
fn waiting<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(poll_once(future.as_mut()).is_pending());
    future
}

fn pool(part: Part, script: Script) -> Pool<Explosive> {
    Pool::builder().max_size(1).build(Explosive::new(part, script))
}

/// Returns every owner of a user's value. When it is dropped, it is the last one.
fn every_owner() -> Vec<Owner> {
    let mut owners = owners_in_scopes();
    owners.extend(owners_of_leases());
    owners.extend(owners_of_pools());
    owners
}

fn owners_in_scopes() -> Vec<Owner> {
    vec![
        owner("a scope without a handle", async |scopes: Scopes, part| {
            let scope = scopes.open();
            drop(scope.lazy(&plain(part)));
            scope
        }),
        owner("a scope", async |scopes: Scopes, part| used(&scopes, plain(part)).await),
        owner("a scope with two resources", async |scopes: Scopes, part| {
            let scope = used(&scopes, plain(part)).await;
            drop(scope.lazy(&plain(part)).get().await);
            scope
        }),
        owner("a scope that acquires", async |scopes: Scopes, part| {
            let scope = scopes.open();
            drop(waiting(scope.lazy(&scripted(part, NEVER)).get()));
            settle().await;
            scope
        }),
        owner("a cell of a closed scope", async |scopes: Scopes, part| {
            let scope = scopes.open();
            let lazy = scope.lazy(&plain(part));
            drop(lazy.get().await);
            lazy
        }),
        owner("a get", async |scopes: Scopes, part| scopes.open().lazy(&plain(part)).get()),
        owner("a get that waits", async |scopes: Scopes, part| {
            let scope = scopes.open();
            let get = waiting(scope.lazy(&scripted(part, NEVER)).get());
            (get, scope)
        }),
        owner("a get whose attempt has failed", async |scopes: Scopes, part| {
            let scope = scopes.open();
            let lazy = scope.lazy(&scripted(part, Script { acquire: Answer::FailsSoon, ..Script::PLAIN }));
            let gets = (waiting(lazy.get()), waiting(lazy.get()));
            settle().await;
            (gets, scope)
        }),
        owner("a guard of a closed scope", async |scopes: Scopes, part| {
            scopes.open().lazy(&plain(part)).get().await.unwrap()
        }),
        owner("a close", async |scopes: Scopes, part| {
            used(&scopes, scripted(part, Script::SETTLING)).await.close(Exit::Completed)
        }),
        owner("a close under way", async |scopes: Scopes, part| {
            let script = Script { release: Answer::Never, ..Script::SETTLING };
            waiting(used(&scopes, scripted(part, script)).await.close(Exit::Completed))
        }),
        owner("the error of a close", async |scopes: Scopes, part| {
            let script = Script { release: Answer::Fails, ..Script::SETTLING };
            used(&scopes, scripted(part, script)).await.close(Exit::Completed).await.unwrap_err()
        }),
        owner("a wrapped resource", async |scopes: Scopes, part| {
            let inner = Explosive::new(part, Script::PLAIN).timeout(Duration::from_secs(1));
            used(&scopes, Arc::new(BoxResource::new(inner.retry(RetryPolicy::new())))).await
        }),
    ]
}

fn owners_of_leases() -> Vec<Owner> {
    vec![
        owner("a lease", async |scopes: Scopes, part| lease(&scopes, plain(part)).await),
        owner("a detached lease", async |scopes: Scopes, part| {
            Guard::detach(scopes.open().lazy(&plain(part)).get().await.unwrap())
        }),
        owner("an acquisition", async |scopes: Scopes, part| {
            let resource = scripted(part, NEVER);
            waiting(Lease::acquire_in(scopes.reaper(), &resource))
        }),
        owner("a release", async |scopes: Scopes, part| Lease::complete(lease(&scopes, plain(part)).await)),
        owner("a release under way", async |scopes: Scopes, part| {
            let script = Script { release: Answer::Never, ..Script::PLAIN };
            waiting(Lease::complete(lease(&scopes, scripted(part, script)).await))
        }),
        owner("an error", async |scopes: Scopes, part| {
            let script = Script { acquire: Answer::Fails, ..Script::PLAIN };
            let resource = scripted(part, script);
            let error = Lease::acquire_in(scopes.reaper(), &resource).await.unwrap_err();
            (error, scopes.open().lazy(&resource))
        }),
        owner("a shared handle's cell", async |scopes: Scopes, part| {
            let shared = Shared::new_in(scopes.reaper(), Explosive::new(part, Script::PLAIN));
            drop(shared.get().await.unwrap());
            shared
        }),
        owner("a shared handle", async |scopes: Scopes, part| {
            let shared = Shared::new_in(scopes.reaper(), Explosive::new(part, Script::PLAIN));
            shared.get().await.unwrap()
        }),
        owner("a get of a shared handle", async |scopes: Scopes, part| {
            let shared = Shared::new_in(scopes.reaper(), Explosive::new(part, NEVER));
            let get = waiting(shared.get());
            (get, shared)
        }),
    ]
}

fn owners_of_pools() -> Vec<Owner> {
    vec![
        owner("an unused pool", async |_, part| pool(part, Script::PLAIN)),
        owner("a pool", async |_, part| {
            let pool = pool(part, Script::PLAIN);
            pool.put(pool.get().await.unwrap());
            pool
        }),
        owner("a pooled handle", async |_, part| pool(part, Script::PLAIN).get().await.unwrap()),
        owner("a pooled handle of a pool", async |_, part| {
            let outer = Pool::new(pool(part, Script::PLAIN));
            let handle = outer.get().await.unwrap();
            (handle, outer)
        }),
        owner("a pooled handle of unknown health", async |_, part| {
            let pool = pool(part, Script { unknown: true, ..Script::PLAIN });
            pool.put(pool.get().await.unwrap());
            pool
        }),
        owner("a get of a pool that creates", async |_, part| {
            let pool = pool(part, NEVER);
            let get = waiting(pool.get());
            (get, pool)
        }),
        owner("a get of a pool that validates", async |_, part| {
            let pool = pool(part, Script { validate: Answer::Never, ..Script::PLAIN });
            pool.put(pool.get().await.unwrap());
            tokio::time::sleep(Duration::from_secs(10)).await;
            let get = waiting(pool.get());
            (get, pool)
        }),
        owner("a get of a pool whose validation was cut", async |_, part| {
            let pool = pool(part, Script { validate: Answer::Never, ..Script::PLAIN });
            pool.put(pool.get().await.unwrap());
            tokio::time::sleep(Duration::from_secs(10)).await;
            let mut get = Box::pin(pool.get());
            let wait = tokio::time::timeout(Duration::from_secs(10), get.as_mut()).await;
            assert!(wait.unwrap().is_ok(), "after the timeout of the validation there is a new handle");
            (get, pool)
        }),
        owner("a pool whose backend is down", async |_, part| {
            let pool = pool(part, Script { acquire: Answer::Fails, ..Script::PLAIN });
            drop(pool.get().await);
            pool
        }),
        owner("a pool in a scope", async |scopes: Scopes, part| {
            used(&scopes, Arc::new(pool(part, Script::PLAIN))).await
        }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Inside,
    Outside,
    Unwinding,
}

#[test]
fn values_that_panic_when_dropped_make_no_drop_panic() {
    watch();
    for (name, make) in every_owner() {
        for part in Part::ALL {
            for place in [Where::Inside, Where::Outside, Where::Unwinding] {
                let (runtime, scopes) = (runtime(), Scopes::new());
                let value = runtime.block_on(make(scopes.clone(), part));
                let case = format!("{name}, {part:?}, {place:?}");
                let dropped = catch_unwind(AssertUnwindSafe(|| match place {
                    Where::Outside => drop(value),
                    Where::Inside => runtime.block_on(async { drop(value) }),
                    Where::Unwinding => runtime.block_on(async {
                        let message = expect_panic(move || {
                            let _value = value;
                            quiet_panic("in the handler");
                        });
                        assert_eq!(message, "in the handler");
                    }),
                }));
                assert!(dropped.is_ok(), "{case}: the drop panics");
                let report = runtime.block_on(scopes.drain(Duration::from_secs(60)));
                assert!(report.is_clean() || report.abandoned > 0, "{case}: {report:?}");
                assert_eq!((report.open_scopes, report.acquiring, report.live), (0, 0, 0), "{case}");
                drop(runtime);
                let stats = scopes.stats();
                assert_eq!(stats.acquired, stats.released + stats.abandoned, "{case}");
            }
        }
    }
}

/// An observer that panics when it is dropped.
struct ExplosiveObserver(#[expect(dead_code, reason = "it is only dropped")] Bomb);

impl Observer for ExplosiveObserver {}

#[test]
fn observer_that_panics_when_dropped_makes_no_drop_panic() {
    watch();
    let observer = || ExplosiveObserver(Bomb(true));
    let scopes = || Scopes::builder().observer(observer()).build();
    runtime().block_on(async {
        drop(Reaper::builder().observer(observer()).observer(observer()));
        drop(Reaper::builder().observer(observer()).build());
        drop(scopes());
        let scope = scopes().open();
        drop(scope);
        let handle = scopes().open().handle().clone();
        drop(handle);
        drop(used(&scopes(), plain(Part::Resource)).await.close(Exit::Completed));
        drop(lease(&scopes(), plain(Part::Resource)).await);
        drop(Pool::builder().observer(observer()).build(Explosive::new(Part::Resource, Script::PLAIN)));
        let pool = Pool::builder().observer(observer()).build(Explosive::new(Part::Resource, Script::PLAIN));
        drop(pool.get().await.unwrap());
        settle().await;
    });
}

#[test]
fn work_that_panics_when_dropped_makes_no_drop_panic() {
    watch();
    let work = || {
        let bomb = Bomb(true);
        async move {
            let _bomb = bomb;
            pending::<()>().await;
        }
    };
    let scopes = Scopes::new();
    let home = runtime();
    home.block_on(async {
        let scope = scopes.open();
        scope.handle().on_completed(work()).unwrap();
        drop(scope);
        let scope = scopes.open();
        scope.handle().on_completed(work()).unwrap();
        drop(scope.close(Exit::Completed));
        scopes.reaper().spawn(work());
        settle().await;
    });
    drop(home);
    scopes.reaper().spawn(work());
    assert_eq!(scopes.stats().acquiring, 0);
}

/// A waker that panics when it is dropped.
struct ExplosiveWaker(#[expect(dead_code, reason = "it is only dropped")] Bomb);

impl Wake for ExplosiveWaker {
    fn wake(self: Arc<Self>) {}
}

/// Polls the future once, and leaves it the last reference to a waker that panics when it is dropped.
fn wait_with_bomb<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    let bomb = Arc::new(ExplosiveWaker(Bomb(true)));
    let kept = Arc::downgrade(&bomb);
    let waker = Waker::from(bomb);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(kept.strong_count() > 1, "the future keeps a waker");
    drop(waker);
    future
}

#[test]
fn waker_that_panics_when_dropped_makes_no_drop_panic() {
    watch();
    runtime().block_on(async {
        let scopes = Scopes::new();
        let scope = scopes.open();
        drop(wait_with_bomb(scope.handle().closed()));
        drop(wait_with_bomb(scopes.drain(Duration::from_secs(1))));
        let lazy = scope.lazy(&plain(Part::Handle));
        let guard = lazy.get().await.unwrap();
        drop(wait_with_bomb(lazy.get()));
        drop(guard);
        let acquiring = scope.lazy(&scripted(Part::Handle, NEVER));
        drop(wait_with_bomb(acquiring.get()));
        let shared = Shared::new(Explosive::new(Part::Handle, NEVER));
        drop(wait_with_bomb(shared.get()));
        let pool = pool(Part::Handle, Script::PLAIN);
        let handle = pool.get().await.unwrap();
        drop(wait_with_bomb(pool.get()));
        drop(handle);
    });
}

/// The fault: the panic of an observer was caught and its payload dropped outside of the catch, so a payload that panics
/// when it is dropped left the drop of a lease, and the handle was never counted as ended.
#[test]
fn observer_whose_panic_panics_again_makes_no_drop_panic() {
    struct PanicsTwice;

    impl Observer for PanicsTwice {
        fn acquired(&self, _of: Subject, _waited: Duration) {
            resume_unwind(Box::new(Bomb(true)));
        }

        fn released(&self, _of: Subject, _exit: Exit) {
            resume_unwind(Box::new(Bomb(true)));
        }
    }

    watch();
    let scopes = Scopes::builder().observer(PanicsTwice).build();
    runtime().block_on(async {
        drop(lease(&scopes, plain(Part::Cause)).await);
        drop(used(&scopes, plain(Part::Cause)).await);
        settle().await;
    });
    let stats = scopes.stats();
    assert_eq!((stats.released, stats.live, stats.observer_panics), (2, 0, 4), "{stats:?}");
}
