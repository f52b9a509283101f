//! `Scopes::run`: how a job without a front end ends, and what its caller gets.

use std::pin::pin;
use std::sync::Arc;

use reqscope::{CloseError, Exit, ScopeHandle};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once, quiet_panic};

use crate::support::{Event, Server, settle};

type JobError = Box<dyn std::error::Error + Send + Sync>;

async fn work(scope: ScopeHandle, probe: Arc<Probe>) -> Result<u64, JobError> {
    let mut guard = scope.lazy(&probe).get().await?;
    guard.use_once();
    Ok(guard.id())
}

#[tokio::test(start_paused = true)]
async fn job_that_succeeds_is_completed_before_its_caller_goes_on() {
    let server = Server::with(Probe::new().settling());
    server.probe.on(Verb::Release).close();
    let probe = Arc::clone(&server.probe);
    let mut job = pin!(server.scopes.run(async move |scope| work(scope, probe).await));
    assert!(poll_once(job.as_mut()).is_pending());
    settle().await;
    assert!(poll_once(job.as_mut()).is_pending(), "the COMMIT has not ended");
    server.probe.on(Verb::Release).ok();
    assert_eq!(job.await.unwrap(), 0);
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn value_of_a_job_is_lost_if_its_close_fails() {
    let server = Server::with(Probe::new().settling());
    server.probe.on(Verb::Release).next(Outcome::error());
    let probe = Arc::clone(&server.probe);
    let error = server.scopes.run(async move |scope| work(scope, probe).await).await.unwrap_err();
    assert!(error.is::<CloseError>(), "{error}");
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn job_marked_as_failed_returns_no_value() {
    let server = Server::with(Probe::new().settling());
    let probe = Arc::clone(&server.probe);
    let job = server.scopes.run(async move |scope| {
        scope.mark_failed();
        work(scope, probe).await
    });
    assert!(job.await.unwrap_err().is::<CloseError>());
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed]);
}

#[tokio::test(start_paused = true)]
async fn job_that_fails_is_rolled_back_and_returns_its_own_error() {
    let server = Server::with(Probe::new().settling());
    server.probe.on(Verb::Release).next(Outcome::error());
    let probe = Arc::clone(&server.probe);
    let job = server.scopes.run(async move |scope| {
        work(scope, probe).await?;
        Err::<(), _>(JobError::from("refused"))
    });
    assert_eq!(job.await.unwrap_err().to_string(), "refused");
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed]);
    assert_eq!(server.events.count(Event::ReleaseFailed(Exit::Failed)), 1, "it is not swallowed");
}

#[tokio::test(start_paused = true)]
async fn dropped_job_is_cancelled_and_holds_no_guard() {
    let server = Server::new();
    let probe = Arc::clone(&server.probe);
    let mut job = Box::pin(server.scopes.run(async move |scope| {
        let _guard = scope.lazy(&probe).get().await?;
        std::future::pending::<Result<(), JobError>>().await
    }));
    assert!(poll_once(job.as_mut()).is_pending());
    drop(job);
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Cancelled]);
    assert_eq!(server.stats().still_lent, 0, "the job is dropped before its scope");
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_job_reaches_its_caller_and_the_release() {
    let server = Server::new();
    let probe = Arc::clone(&server.probe);
    // In a task, which catches the panic.
    let job = tokio::spawn(server.scopes.run(async move |scope| {
        work(scope, probe).await?;
        quiet_panic("the job panics");
        #[expect(unreachable_code, reason = "it names the type of the value")]
        Ok::<(), JobError>(())
    }));
    assert!(job.await.unwrap_err().is_panic());
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Panicked]);
}

#[tokio::test(start_paused = true)]
async fn job_that_is_never_polled_opens_no_scope() {
    let server = Server::new();
    drop(server.scopes.run(async |_| Ok::<_, JobError>(())));
    assert_eq!(server.stats().opened_scopes, 0);
}

#[tokio::test(start_paused = true)]
async fn job_may_borrow_from_its_caller() {
    let server = Server::new();
    let mut seen = Vec::new();
    let job = server.scopes.run(async |scope| {
        seen.push(work(scope, Arc::clone(&server.probe)).await?);
        Ok::<_, JobError>(())
    });
    job.await.unwrap();
    assert_eq!(seen, [0]);
    server.finish().await;
}
