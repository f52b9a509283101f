//! What the wrappers promise in addition to the laws, which the test kit checks.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::observer::Abandoned;
use reqscope::wrap::{RetryPolicy, Timeout};
use reqscope::{BoxResource, Error, Exit, Health, Identity, Lease, Reset, Resource, ResourceExt};
use reqscope_testkit::{Outcome, Probe, Scripted, Verb, poll_once};
use tokio::time::Instant;

use crate::support::{Event, Server, bounded};

type Acquired<R> = Result<Lease<R>, Error<Scripted>>;

/// Wraps the server's probe with `wrap`, and acquires one handle, counted by the server.
async fn acquire<R: Resource<Cause = Scripted>>(server: &Server, wrap: impl FnOnce(Probe) -> R) -> Acquired<R> {
    let wrapped = Arc::new(wrap(Probe::clone(&server.probe)));
    bounded(Lease::acquire_in(server.scopes.reaper(), &wrapped)).await
}

#[tokio::test(start_paused = true)]
async fn retry_returns_the_last_error_and_reports_all() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).always(Outcome::error());
    let began = Instant::now();
    acquire(&server, |probe| probe.retry(RetryPolicy::new())).await.unwrap_err();
    // Four pauses, of at most 50, 100, 200 and 400 ms.
    assert!(began.elapsed() <= Duration::from_millis(754), "{:?}", began.elapsed());
    assert_eq!(server.probe.on(Verb::Acquire).calls(), 5);
    assert_eq!((server.stats().acquire_failed, server.events.count(Event::AcquireFailed)), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn retry_makes_the_configured_attempts_and_at_least_one() {
    for (attempts, calls) in [(0, 1), (1, 1), (2, 2), (9, 9)] {
        let server = Server::new();
        server.probe.on(Verb::Acquire).always(Outcome::error());
        acquire(&server, |probe| probe.retry(RetryPolicy::new().attempts(attempts))).await.unwrap_err();
        assert_eq!(server.probe.on(Verb::Acquire).calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_pauses_no_longer_than_the_longest_pause() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).always(Outcome::error());
    let policy = RetryPolicy::new().attempts(41).longest_pause(Duration::from_millis(60));
    let began = Instant::now();
    acquire(&server, |probe| probe.retry(policy)).await.unwrap_err();
    // A timer may be a millisecond late, each time.
    assert!(began.elapsed() <= Duration::from_millis(40 * 61), "{:?}", began.elapsed());
    assert!(began.elapsed() > Duration::from_millis(40), "the retry pauses");
}

#[tokio::test(start_paused = true)]
async fn retry_gives_up_at_a_permanent_error() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).error().next(Outcome::permanent());
    let error = acquire(&server, |probe| probe.retry(RetryPolicy::new())).await.unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(server.probe.on(Verb::Acquire).calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn retry_does_not_try_again_after_a_panic() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).error().panic();
    let error = acquire(&server, |probe| probe.retry(RetryPolicy::new())).await.unwrap_err();
    assert!(error.is_panicked());
    assert_eq!(server.probe.on(Verb::Acquire).calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn timeout_drops_a_late_verb_and_names_its_stage() {
    let server = Server::new();
    let seconds = Duration::from_secs;
    let bounds = |probe| {
        let bounded = Timeout::new(probe, seconds(9)).acquire_within(seconds(1));
        bounded.validate_within(seconds(2)).release_within(seconds(3))
    };
    let missed = |error: Error<Scripted>| {
        assert!(error.is_timeout());
        (error.stage(), error.elapsed().map(|elapsed| elapsed.as_secs()))
    };
    server.probe.on(Verb::Acquire).never();
    let error = acquire(&server, bounds).await.unwrap_err();
    assert_eq!(missed(error), (Some(Stage::Acquiring), Some(1)));
    assert_eq!(server.probe.counts().acquiring, 0);

    let mut lease = acquire(&server, bounds).await.unwrap();
    let wrapped = Arc::clone(Lease::resource(&lease));
    server.probe.on(Verb::Validate).never();
    assert_eq!(missed(bounded(wrapped.validate(&mut lease)).await.unwrap_err()), (Some(Stage::Validating), Some(2)));
    server.probe.on(Verb::Release).never();
    assert_eq!(missed(bounded(Lease::complete(lease)).await.unwrap_err()), (Some(Stage::Releasing), Some(3)));
}

#[tokio::test(start_paused = true)]
async fn release_that_misses_a_timeout_failed_not_abandoned() {
    let server = Server::new();
    let lease = acquire(&server, |probe| probe.timeout(Duration::from_secs(1))).await.unwrap();
    server.probe.on(Verb::Release).never();
    bounded(Lease::complete(lease)).await.unwrap_err();
    let stats = server.stats();
    assert_eq!((stats.released, stats.release_failed, stats.abandoned), (1, 1, 0));
    assert_eq!(server.events.count(Event::ReleaseFailed(Exit::Completed)), 1);
    assert_eq!(server.events.count(Event::Abandoned(Exit::Completed, Abandoned::Deadline)), 0);
}

#[tokio::test(start_paused = true)]
async fn verb_ready_at_its_first_poll_never_times_out() {
    let server = Server::new();
    let lease = acquire(&server, |probe| probe.timeout(Duration::ZERO)).await.unwrap();
    bounded(Lease::complete(lease)).await.unwrap();
    assert_eq!(server.exits(), [Exit::Completed]);
}

/// A retry around a timeout bounds each attempt; a timeout around a retry bounds all attempts together.
#[tokio::test(start_paused = true)]
async fn outermost_wrapper_bounds_what_is_inside() {
    let second = Duration::from_secs(1);
    let policy = RetryPolicy::new().attempts(3).longest_pause(Duration::ZERO);
    let server = Server::new();
    server.probe.on(Verb::Acquire).always(Outcome::never());
    acquire(&server, |probe| probe.timeout(second).retry(policy)).await.unwrap_err();
    assert_eq!(server.probe.on(Verb::Acquire).calls(), 3);

    let server = Server::new();
    server.probe.on(Verb::Acquire).always(Outcome::never());
    acquire(&server, |probe| probe.retry(policy).timeout(second)).await.unwrap_err();
    assert_eq!(server.probe.on(Verb::Acquire).calls(), 1);
}

#[test]
fn retry_and_timeout_without_timers_return_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let probe = Probe::new();
        probe.on(Verb::Acquire).always(Outcome::error());
        let error = Lease::acquire(&Arc::new(probe.clone().retry(RetryPolicy::new()))).await.unwrap_err();
        assert!(error.to_string().contains("no timers"), "{error}");
        assert_eq!(probe.on(Verb::Acquire).calls(), 1, "the retry gives up");

        probe.on(Verb::Acquire).always(Outcome::never());
        let error = Lease::acquire(&Arc::new(probe.timeout(Duration::from_secs(1)))).await.unwrap_err();
        assert!(error.to_string().contains("no timers"), "{error}");
    });
}

/// A type that has none of the traits that a wrapper could ask for.
struct Audit(#[expect(dead_code, reason = "its type counts")] *const u8);

#[tokio::test(start_paused = true)]
async fn tagged_forwards_the_shortcuts_and_settles() {
    let server = Server::with(Probe::new().settling().reclaiming());
    let tagged = Arc::new(Probe::clone(&server.probe).tagged::<Audit>());
    assert!(tagged.settles(Exit::Completed));
    server.probe.make_ready(1);
    let Poll::Ready(Ok(lease)) = poll_once(pin!(Lease::acquire_in(server.scopes.reaper(), &tagged))) else {
        panic!("the acquire waits or fails")
    };
    assert_eq!(server.probe.counts().acquires, 0, "`try_acquire` is forwarded");
    server.probe.set_health(Health::Dead);
    assert_eq!(tagged.probe(&lease), Health::Dead);
    Lease::complete(lease).await.unwrap();
    assert_eq!(server.probe.counts().reclaimed, 1);
    assert_eq!(server.probe.on(Verb::Release).calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_resource_under_two_tags_has_two_handles() {
    struct Orders;
    let server = Server::new();
    let orders = Arc::new(Probe::clone(&server.probe).tagged::<Orders>());
    let audit = Arc::new(Probe::clone(&server.probe).tagged::<Audit>());
    let scope = server.scopes.open();
    let ids = [scope.lazy(&orders).get().await.unwrap().id(), scope.lazy(&audit).get().await.unwrap().id()];
    assert_eq!(ids, [0, 1]);
    drop(scope);
    server.finish().await;
    assert_eq!(server.events.count(Event::SecondResource), 0, "they have different types");
}

/// A resource that answers no question as the defaults do.
struct Unusual(Box<u8>);

impl Resource for Unusual {
    type Handle = u8;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<u8, Error<Scripted>> {
        Ok(*self.0)
    }

    fn probe(&self, _: &u8) -> Health {
        Health::Dirty
    }

    fn ends_with_request(&self) -> bool {
        true
    }

    fn reset(&self) -> Reset {
        Reset::Always
    }

    fn fault(&self, handle: &u8) -> Option<Error<Scripted>> {
        Some(Error::unavailable().with_context(format!("number {handle}")))
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(&*self.0))
    }
}

fn check_unusual(name: &str, wrap: impl FnOnce(Unusual) -> BoxResource<u8, Scripted>) {
    let unusual = Unusual(Box::new(7));
    let identity = unusual.identity();
    let wrapped = wrap(unusual);
    assert_eq!(wrapped.probe(&7), Health::Dirty, "{name}");
    assert!(wrapped.ends_with_request(), "{name}");
    assert_eq!(wrapped.reset(), Reset::Always, "{name}");
    let fault = wrapped.fault(&7).expect(name);
    assert!(fault.is_unavailable() && fault.to_string().contains("number 7"), "{name}: {fault}");
    assert_eq!(wrapped.identity(), identity, "{name}");
}

#[test]
fn wrappers_forward_what_a_resource_says_about_itself() {
    check_unusual("BoxResource", |unusual| unusual.boxed());
    check_unusual("Arc", |unusual| Arc::new(unusual).boxed());
    check_unusual("Timeout", |unusual| unusual.timeout(Duration::from_secs(1)).boxed());
    check_unusual("Retry", |unusual| unusual.retry(RetryPolicy::new()).boxed());
    check_unusual("Tagged", |unusual| unusual.tagged::<Audit>().boxed());
}
