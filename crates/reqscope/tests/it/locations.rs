//! Every line of code that is reported is one of the caller, never one of this crate.

use std::error::Error as StdError;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::{Abandoned, Subject};
use reqscope::pool::PoolBuilder;
use reqscope::{Error, Exit, Lease, Observer, Pool, Reaper, Resource, ResourceExt, Scopes, Shared};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, poll_once, quiet_panic};
use tokio::time::sleep;

use crate::support::{bounded, settle};
use crate::watchdog::watch;

type Line = &'static Location<'static>;

/// An observer that records the line of each event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(&'static str, Line)>>>);

impl Lines {
    fn record(&self, event: &'static str, line: Line) {
        self.0.lock().push((event, line));
    }

    /// Returns the lines of the events of this name, in order.
    fn of(&self, event: &str) -> Vec<u32> {
        self.0.lock().iter().filter(|(name, _)| *name == event).map(|(_, line)| line.line()).collect()
    }

    fn pool(&self) -> PoolBuilder<Probe> {
        watch();
        Pool::builder().observer(self.clone())
    }
}

impl Observer for Lines {
    fn acquired(&self, of: Subject, _: Duration) {
        self.record("acquired", of.taken_at);
    }

    fn acquire_failed(&self, of: Subject, _: &(dyn StdError + 'static)) {
        self.record("acquire_failed", of.taken_at);
    }

    fn lent_too_long(&self, of: Subject, held_since: Line) {
        self.record("lent_too_long", of.taken_at);
        self.record("lent_too_long", held_since);
    }

    fn held_too_long(&self, of: Subject, _: Duration) {
        self.record("held_too_long", of.taken_at);
    }

    fn released(&self, of: Subject, _: Exit) {
        self.record("released", of.taken_at);
    }

    fn release_failed(&self, of: Subject, _: Exit, _: &(dyn StdError + 'static)) {
        self.record("release_failed", of.taken_at);
    }

    fn abandoned(&self, of: Subject, _: Exit, _: Abandoned) {
        self.record("abandoned", of.taken_at);
    }

    fn taken(&self, of: Subject) {
        self.record("taken", of.taken_at);
    }

    fn still_lent(&self, of: Subject) {
        self.record("still_lent", of.taken_at);
    }

    fn task_failed(&self, spawned_at: Line, _: &(dyn StdError + 'static)) {
        self.record("task_failed", spawned_at);
    }
}

/// A resource around a lease, in a reaper of its own.
struct Around<R>(Reaper, Arc<R>);

impl<R: Resource> Resource for Around<R> {
    type Handle = Lease<R>;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<Lease<R>, Error<R::Cause>> {
        Lease::acquire_in(&self.0, &self.1).await
    }
}

#[tokio::test(start_paused = true)]
async fn observers_see_no_line_of_this_crate() {
    let lines = Lines::default();
    let scopes = Scopes::builder().observer(lines.clone()).build();
    let probe = Arc::new(Probe::new());

    // A scope and its guards.
    let scope = scopes.open();
    probe.on(Verb::Acquire).slow(1).error().ok();
    let lazy = scope.lazy(&probe);
    let guard = lazy.get().await.unwrap();
    assert!(lazy.get().await.unwrap_err().is_timeout());
    scope.handle().on_completed(async { quiet_panic("after the end") }).unwrap();
    drop(scope.close(Exit::Completed).await);
    drop(guard);
    scopes.reaper().spawn(async { quiet_panic("in the background") });

    // Leases.
    assert!(Lease::acquire_in(scopes.reaper(), &probe).await.is_err());
    drop(Lease::into_handle(Lease::acquire_in(scopes.reaper(), &probe).await.unwrap()));
    probe.on(Verb::Release).error().never();
    drop(Lease::complete(Lease::acquire_in(scopes.reaper(), &probe).await.unwrap()).await);
    drop(Lease::acquire_in(scopes.reaper(), &probe).await.unwrap());
    drop(Shared::new_in(scopes.reaper(), Probe::new()).get().await.unwrap());

    // Pools, alone, in a scope, in wrappers and in one another.
    let inner = lines.pool().max_size(2).leak_after(Duration::from_secs(1)).build(Probe::new());
    let outer = Arc::new(Pool::builder().observer(lines.clone()).min_idle(1).build(inner));
    let scope = scopes.open();
    drop(scope.lazy(&outer).get().await.unwrap());
    let wrapped = Arc::new(Probe::new().timeout(Duration::from_secs(1)));
    drop(scope.lazy(&Arc::new(Around(scopes.reaper().clone(), wrapped))).get().await.unwrap());
    let held = outer.get().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    drop(held);
    drop(scope);
    assert!(bounded(outer.close(Duration::from_secs(1))).await.is_clean());
    let failing = Probe::new();
    failing.on(Verb::Acquire).next(Outcome::permanent()).panic();
    let pool = lines.pool().min_idle(1).build(failing);
    assert!(pool.get().await.is_err());
    sleep(Duration::from_secs(5)).await;
    pool.clear();
    drop(pool);
    sleep(Duration::from_secs(10)).await;
    settle().await;

    let seen = lines.0.lock().clone();
    for (event, line) in &seen {
        assert_eq!(line.file(), file!(), "{event}: {line}");
    }
    let every = ["acquired", "acquire_failed", "lent_too_long", "held_too_long", "released", "release_failed"];
    for event in every.into_iter().chain(["abandoned", "taken", "still_lent", "task_failed"]) {
        assert!(seen.iter().any(|(name, _)| *name == event), "the tour has no event {event}");
    }
}

/// The fault: it was a line of the pool's own code.
#[tokio::test(start_paused = true)]
async fn creation_is_reported_at_the_get_that_caused_it() {
    let lines = Lines::default();
    let pool = lines.pool().build(Probe::new());
    let (get, line) = (pool.get(), line!());
    pool.put(get.await.unwrap());
    assert_eq!(lines.of("acquired"), [line]);
}

#[tokio::test(start_paused = true)]
async fn creation_of_an_inner_pool_is_reported_at_the_outermost_get() {
    let lines = Lines::default();
    let pool = Arc::new(Pool::new(lines.pool().build(Probe::new())));
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&pool);
    let (get, line) = (lazy.get(), line!());
    drop(get.await.unwrap());
    assert_eq!(lines.of("acquired"), [line]);
}

/// The creation that a waiter begins takes the place of one that was refused while another one ran.
#[tokio::test(start_paused = true)]
async fn creation_for_a_waiter_is_reported_at_its_get() {
    let lines = Lines::default();
    let probe = Probe::new();
    probe.on(Verb::Acquire).slow(1).slow(1);
    let pool = lines.pool().max_size(2).create_concurrency(1).build(probe);
    let (first, one) = (Box::pin(pool.get()), line!());
    let (second, two) = (Box::pin(pool.get()), line!());
    let mut gets = [first, second];
    assert!(gets.iter_mut().all(|get| poll_once(get.as_mut()).is_pending()));
    for get in gets {
        drop(get.await.unwrap());
    }
    assert_eq!(lines.of("acquired"), [one, two]);
}

#[tokio::test(start_paused = true)]
async fn creation_for_no_caller_is_reported_at_the_build() {
    let lines = Lines::default();
    let builder = lines.pool().min_idle(1);
    let (pool, line) = (builder.build(Probe::new()), line!());
    pool.warm().await.unwrap();
    assert_eq!(lines.of("acquired"), [line]);
}

#[tokio::test(start_paused = true)]
async fn lease_of_a_wrapper_is_reported_at_the_outermost_call() {
    let lines = Lines::default();
    let reaper = Reaper::builder().observer(lines.clone()).build();
    let around = Arc::new(Around(reaper, Arc::new(Probe::new())));
    let (acquire, line) = (Lease::acquire(&around), line!());
    let result: Result<_, Error<Scripted>> = acquire.await;
    drop(result.unwrap());
    assert_eq!(lines.of("acquired"), [line]);
}
