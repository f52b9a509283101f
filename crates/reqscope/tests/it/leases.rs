//! Leases, and wrappers that take one inside their `acquire`.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Exit, Lease, Reaper, Resource};
use reqscope_testkit::{Probe, ProbeHandle, Scripted, Verb, cancel_at, expect_panic};

use crate::support::{Event, Server, bounded, settle};

#[tokio::test(start_paused = true)]
async fn lease_ends_with_the_exit_of_its_user() {
    let server = Server::new();
    let reaper = server.scopes.reaper();
    let take = || Lease::acquire_in(reaper, &server.probe);
    Lease::complete(take().await.unwrap()).await.unwrap();
    Lease::fail(take().await.unwrap()).await.unwrap();
    Lease::end(take().await.unwrap(), Exit::Panicked).await.unwrap();
    drop(take().await.unwrap());
    settle().await;
    let lease = take().await.unwrap();
    expect_panic(move || {
        let _lease = lease;
        panic!("in the job");
    });
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed, Exit::Failed, Exit::Panicked, Exit::Cancelled, Exit::Panicked]);
}

#[tokio::test(start_paused = true)]
async fn handle_taken_out_of_a_lease_is_never_released() {
    let server = Server::new();
    let lease = Lease::acquire_in(server.scopes.reaper(), &server.probe).await.unwrap();
    let handle: ProbeHandle = Lease::into_handle(lease);
    assert_eq!((server.stats().taken, server.stats().live), (1, 0));
    assert!(server.scopes.drain(Duration::ZERO).await.is_clean());
    assert_eq!(server.exits(), []);
    drop(handle);
}

#[tokio::test(start_paused = true)]
async fn failed_release_is_returned_and_reported() {
    let server = Server::new();
    server.probe.on(Verb::Release).error().panic();
    let take = || Lease::acquire_in(server.scopes.reaper(), &server.probe);
    let error = Lease::complete(take().await.unwrap()).await.unwrap_err();
    assert!(error.cause().is_some());
    assert_eq!(error.to_string(), "the resource failed while releasing");
    assert!(Lease::fail(take().await.unwrap()).await.unwrap_err().is_panicked());
    server.finish().await;
    assert_eq!(server.events.count(Event::ReleaseFailed(Exit::Completed)), 1);
    assert_eq!(server.events.count(Event::ReleaseFailed(Exit::Failed)), 1);
}

#[tokio::test(start_paused = true)]
async fn hanging_release_is_abandoned_after_5_seconds() {
    let server = Server::new();
    server.probe.on(Verb::Release).never();
    let lease = Lease::acquire_in(server.scopes.reaper(), &server.probe).await.unwrap();
    let error = bounded(Lease::complete(lease)).await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.to_string(), "timed out after 5.0 s while releasing");
    assert_eq!((server.stats().abandoned, server.stats().released), (1, 0));
    server.assert_balanced();
}

#[tokio::test(start_paused = true)]
async fn lease_outside_a_scope_is_counted_by_the_global_reaper() {
    let before = Reaper::global().stats();
    let probe = Arc::new(Probe::new());
    let lease = Lease::acquire(&probe).await.unwrap();
    assert!(Reaper::global().stats().acquired > before.acquired);
    Lease::complete(lease).await.unwrap();
    assert!(Reaper::global().stats().released > before.released);
}

/// A wrapper like a transaction over a connection: its handle holds the lease of the inner one.
struct Transactions {
    inner: Arc<Probe>,
    /// The BEGIN.
    begin: Probe,
}

impl Transactions {
    fn new(inner: &Arc<Probe>) -> Arc<Self> {
        Arc::new(Transactions { inner: Arc::clone(inner), begin: Probe::new() })
    }
}

impl Resource for Transactions {
    type Handle = Lease<Probe>;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<Lease<Probe>, Error<Scripted>> {
        let inner = Lease::acquire(&self.inner).await?;
        self.begin.on(Verb::Acquire).pass().await?;
        Ok(inner)
    }

    async fn release(&self, handle: Lease<Probe>, exit: Exit) -> Result<(), Error<Scripted>> {
        Lease::end(handle, exit).await
    }
}

/// Events about the inner lease name the line of the scope's `get`, not a line of the wrapper.
#[tokio::test(start_paused = true)]
async fn inner_lease_of_a_wrapper_is_counted_in_the_scope() {
    for slow in [false, true] {
        let server = Server::new();
        if slow {
            server.probe.on(Verb::Acquire).slow(3); // The acquisition moves to its own task.
        }
        let transactions = Transactions::new(&server.probe);
        let scope = server.scopes.open();
        let (guard, line) = (scope.lazy(&transactions).get().await.unwrap(), line!());
        assert_eq!(server.stats().acquired, 2, "the outer handle and the inner one");
        assert_eq!(Lease::taken_at(&guard).line(), line);
        assert_eq!(server.events.subject(Event::Acquired).taken_at.line(), line);
        assert!(Lease::taken_at(&guard).file().ends_with("leases.rs"));
        drop(guard);
        assert_eq!(server.scopes.drain(Duration::ZERO).await.live, 2, "the drain counts both");
        scope.close(Exit::Completed).await.unwrap();
        let report = server.scopes.drain(Duration::from_secs(5)).await;
        assert!(report.is_clean());
        assert_eq!(server.stats().released, 2);
        assert_eq!(server.exits(), [Exit::Completed]);
    }
}

#[tokio::test(start_paused = true)]
async fn acquisition_cut_between_steps_cancels_the_inner_handle() {
    for polls in 1.. {
        let server = Server::new();
        let transactions = Transactions::new(&server.probe);
        server.probe.on(Verb::Acquire).slow(2);
        transactions.begin.on(Verb::Acquire).slow(2);
        let cut = cancel_at(polls, Lease::acquire_in(server.scopes.reaper(), &transactions)).await.is_none();
        server.scopes.drain(Duration::from_secs(5)).await;
        let counts = server.probe.counts();
        assert_eq!((counts.live(), counts.abandoned), (0, 0), "cut at poll {polls}");
        if cut && counts.acquired == 1 {
            assert_eq!(server.exits(), [Exit::Cancelled], "cut at poll {polls}");
        }
        if !cut {
            assert_eq!(polls, 5);
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_during_an_acquisition_cancels_the_inner_handle() {
    let server = Server::new();
    let transactions = Transactions::new(&server.probe);
    transactions.begin.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    let get = tokio::spawn(scope.lazy(&transactions).get());
    settle().await;
    assert_eq!(server.stats().acquired, 1, "the inner handle; BEGIN hangs");
    scope.close(Exit::Completed).await.unwrap();
    assert!(get.await.unwrap().unwrap_err().is_closed());
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn lease_acquired_beside_an_acquisition_is_not_in_its_scope() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).slow(1);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let beside = Arc::new(Probe::new());
    let (guard, lease) = tokio::join!(lazy.get(), Lease::acquire(&beside));
    assert_eq!(server.stats().acquired, 1);
    drop((guard.unwrap(), lease.unwrap()));
}
