//! L12 for requests with a deadline: no acquisition begins after it, and none waits beyond it.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Lease, Resource, Scope};
use reqscope_testkit::{Probe, Scripted, Verb};
use tokio::time::{Instant, advance};

use crate::support::{Event, Server, bounded, get_now, settle};

const PASSED: &str = "the deadline of the request has passed";

fn set_deadline(scope: &Scope, after: Duration) {
    scope.set_deadline((Instant::now() + after).into_std());
}

/// A handler that runs on after its deadline used to check out connections that its client no longer waited for.
#[tokio::test(start_paused = true)]
async fn get_after_the_request_deadline_fails_at_once() {
    let server = Server::new();
    let scope = server.scopes.open();
    set_deadline(&scope, Duration::from_secs(1));
    advance(Duration::from_secs(2)).await;
    let began = Instant::now();
    let error = bounded(scope.lazy(&server.probe).get()).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(error.is_timeout());
    assert_eq!(error.to_string(), format!("timed out after 0.0 s while acquiring: {PASSED}"));
    assert_eq!(server.probe.counts().acquires, 0);
    assert_eq!((server.stats().acquire_failed, server.events.count(Event::AcquireFailed)), (1, 1));
    drop(scope);
    server.finish().await;
}

/// An acquisition that hung kept the handler for 60 s although its client had left after 1 s.
#[tokio::test(start_paused = true)]
async fn acquisition_waits_no_longer_than_the_request() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    set_deadline(&scope, Duration::from_secs(1));
    let began = Instant::now();
    let error = bounded(scope.lazy(&server.probe).get()).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 1);
    assert!(error.is_timeout());
    assert_eq!(error.to_string(), format!("timed out after 1.0 s while acquiring: {PASSED}"));
    drop(scope);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn acquire_timeout_before_the_request_deadline_comes_first() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    set_deadline(&scope, Duration::from_secs(100));
    let error = bounded(scope.lazy(&server.probe).get()).await.unwrap_err();
    assert_eq!(error.to_string(), "timed out after 60.0 s while acquiring");
    drop(scope);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_guard_ends_with_the_request_deadline() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    set_deadline(&scope, Duration::from_secs(1));
    let guard = get_now(&lazy);
    let began = Instant::now();
    let error = bounded(lazy.get()).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 1);
    assert!(error.is_timeout() && error.holder().is_some());
    assert!(error.to_string().starts_with(&format!("timed out after 1.0 s while waiting: {PASSED}; ")), "{error}");
    // The guard has not been held for longer than the lend timeout.
    assert_eq!(server.events.count(Event::LentTooLong), 0);
    drop(guard);
}

/// It costs no wait, and the handler may still have to write down that it failed.
#[tokio::test(start_paused = true)]
async fn idle_handle_is_lent_after_the_request_deadline() {
    let server = Server::new();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    set_deadline(&scope, Duration::from_secs(1));
    advance(Duration::from_secs(2)).await;
    drop(get_now(&lazy));
}

/// A deadline that is set while an acquisition runs applies to the next one.
#[tokio::test(start_paused = true)]
async fn later_deadline_replaces_an_earlier_one() {
    let server = Server::new();
    let scope = server.scopes.open();
    set_deadline(&scope, Duration::ZERO);
    assert!(bounded(scope.lazy(&server.probe).get()).await.is_err());
    set_deadline(&scope, Duration::from_secs(1));
    drop(get_now(&scope.lazy(&server.probe)));
}

/// A resource around a lease, like a transaction.
struct Around(Arc<Probe>);

impl Resource for Around {
    type Handle = Lease<Probe>;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<Lease<Probe>, Error<Scripted>> {
        settle().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Lease::acquire(&self.0).await
    }
}

/// The transaction waits for its own lock first; the request's deadline passes meanwhile.
#[tokio::test(start_paused = true)]
async fn inner_lease_ends_with_the_request_deadline() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    set_deadline(&scope, Duration::from_secs(3));
    let around = Arc::new(Around(Arc::clone(&server.probe)));
    let began = Instant::now();
    let error = bounded(scope.lazy(&around).get()).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 3);
    assert!(error.to_string().ends_with(PASSED), "{error}");
    drop(scope);
    server.finish().await;
}
