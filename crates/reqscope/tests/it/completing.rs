//! `Lazy::complete` and `Lazy::fail`: a handle that ends before its request (L4, L8).

use std::pin::pin;
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::scope::{LazyState, Problem, TryGetError};
use reqscope::{Exit, Guard};
use reqscope_testkit::{Outcome, Probe, Verb, cancel_at, poll_once};
use tokio::task::coop;
use tokio::time::Instant;

use crate::support::{Event, Server, bounded, get_now, runtime, settle};

fn server() -> Server {
    Server::with(Probe::new().settling())
}

#[tokio::test(start_paused = true)]
async fn complete_releases_and_the_next_get_acquires_another() {
    for polls in [0, 3] {
        let server = server();
        server.probe.on(Verb::Release).slow(polls);
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        assert_eq!(lazy.get().await.unwrap().id(), 0);
        lazy.complete().await.unwrap();
        assert_eq!((lazy.state(), server.exits()), (LazyState::Unused, vec![Exit::Completed]));
        assert_eq!(lazy.get().await.unwrap().id(), 1);
        scope.close(Exit::Failed).await.unwrap();
        server.finish().await;
        assert_eq!(server.exits(), [Exit::Completed, Exit::Failed], "what was completed early stays so");
    }
}

#[tokio::test(start_paused = true)]
async fn fail_does_not_mark_the_scope() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    lazy.fail().await.unwrap();
    drop(lazy.get().await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(server.exits(), [Exit::Failed, Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn without_a_handle_complete_does_nothing() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    lazy.complete().await.unwrap();
    server.probe.on(Verb::Acquire).slow(1);
    let mut get = pin!(lazy.get());
    assert!(poll_once(get.as_mut()).is_pending());
    lazy.complete().await.unwrap();
    drop(get.await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    assert!(lazy.complete().await.unwrap_err().is_closed());
    assert_eq!(server.exits(), [Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn complete_cut_at_any_poll_goes_on_in_the_reaper() {
    for polls in 1.. {
        let server = server();
        server.probe.on(Verb::Release).slow(3);
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        drop(get_now(&lazy));
        let done = cancel_at(polls, lazy.complete()).await.map(Result::unwrap).is_some();
        assert_eq!(lazy.get().await.unwrap().id(), 1, "cut at poll {polls}");
        assert_eq!(server.exits(), [Exit::Completed], "cut at poll {polls}");
        scope.close(Exit::Failed).await.unwrap();
        server.finish().await;
        if done {
            assert!(polls > 1, "it was never cut");
            break;
        }
    }
}

/// The fault: in a task whose budget was used up, the first poll did nothing, and a caller that was cut after it had not
/// completed the handle.
#[tokio::test(start_paused = true)]
async fn first_poll_of_complete_begins_without_a_budget_too() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    while coop::has_budget_remaining() {
        assert!(poll_once(pin!(coop::consume_budget())).is_ready());
    }
    assert!(poll_once(pin!(lazy.complete())).is_pending());
    scope.close(Exit::Failed).await.unwrap();
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn complete_that_waits_for_a_guard_is_overtaken_by_no_get() {
    let server = server();
    server.probe.on(Verb::Release).slow(2);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let before = tokio::spawn(lazy.get());
    settle().await;
    let complete = tokio::spawn(lazy.complete());
    settle().await;
    let after = tokio::spawn(lazy.get());
    settle().await;
    drop(guard);
    assert!(matches!(lazy.try_get(), Err(TryGetError::Ending)));
    assert_eq!(lazy.state(), LazyState::Ending);
    complete.await.unwrap().unwrap();
    assert_eq!(server.exits(), [Exit::Completed]);
    assert_eq!(before.await.unwrap().unwrap().id(), 1);
    assert_eq!(after.await.unwrap().unwrap().id(), 1);
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
}

/// Its COMMIT has effects, whatever becomes of the request.
#[tokio::test(start_paused = true)]
async fn end_of_a_failed_scope_waits_for_an_early_commit() {
    for exit in [Some(Exit::Failed), None] {
        let server = server();
        server.probe.on(Verb::Release).close();
        let scope = server.scopes.open();
        let (lazy, request) = (scope.lazy(&server.probe), scope.handle().clone());
        drop(get_now(&lazy));
        assert!(poll_once(pin!(lazy.complete())).is_pending());
        match exit {
            Some(exit) => drop(tokio::spawn(scope.close(exit))),
            None => drop(scope),
        }
        settle().await;
        let mut ended = pin!(request.ended());
        assert!(poll_once(ended.as_mut()).is_pending());
        server.probe.on(Verb::Release).ok();
        assert_eq!(bounded(ended).await.unwrap(), exit.unwrap_or(Exit::Cancelled));
        server.finish().await;
        assert_eq!(server.exits(), [Exit::Completed]);
    }
}

/// What was to be rolled back must not be committed because another caller gave up.
#[tokio::test(start_paused = true)]
async fn complete_that_times_out_leaves_the_mark_of_a_cut_fail() {
    for first_is_dropped in [true, false] {
        let server = server();
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        let guard = get_now(&lazy);
        let mut fail = Some(Box::pin(lazy.fail()));
        let polled = poll_once(fail.as_mut().unwrap().as_mut());
        assert!(polled.is_pending());
        if first_is_dropped {
            fail = None;
        }
        assert!(bounded(lazy.complete()).await.unwrap_err().is_timeout());
        drop(guard);
        assert!(lazy.try_get().is_err(), "the handle ends");
        if let Some(fail) = fail {
            bounded(fail).await.unwrap();
        }
        scope.close(Exit::Completed).await.unwrap();
        server.finish().await;
        assert_eq!(server.exits(), [Exit::Failed]);
    }
}

#[tokio::test(start_paused = true)]
async fn guard_held_for_too_long_keeps_its_handle_in_use() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let (guard, began) = (get_now(&lazy), Instant::now());
    let error = bounded(lazy.complete()).await.unwrap_err();
    assert_eq!((began.elapsed().as_secs(), error.stage()), (5, Some(Stage::Waiting)));
    assert!(error.is_timeout() && error.holder().is_some(), "{error}");
    assert!(error.to_string().contains("a guard of this request"), "{error}");
    assert_eq!(server.events.count(Event::LentTooLong), 1);
    drop(guard);
    assert_eq!(get_now(&lazy).id(), 0, "it was not released");
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(server.exits(), [Exit::Completed]);
}

#[tokio::test(start_paused = true)]
async fn complete_dropped_in_its_wait_ends_the_returned_handle() {
    let server = server();
    server.probe.on(Verb::Release).slow(2);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    assert!(poll_once(pin!(lazy.complete())).is_pending());
    drop(guard);
    assert_eq!(lazy.state(), LazyState::Ending);
    assert_eq!(lazy.get().await.unwrap().id(), 1);
    assert_eq!(server.exits(), [Exit::Completed]);
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn fail_overrules_a_complete_that_waits() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let complete = tokio::spawn(lazy.complete());
    settle().await;
    let fail = tokio::spawn(lazy.fail());
    settle().await;
    drop(guard);
    assert!(complete.await.unwrap().unwrap_err().is_failed());
    fail.await.unwrap().unwrap();
    assert_eq!(server.exits(), [Exit::Failed]);
}

#[tokio::test(start_paused = true)]
async fn failed_release_fails_the_request_even_if_it_is_ignored() {
    for outcome in [Outcome::error(), Outcome::error().after_polls(2), Outcome::panic()] {
        let server = server();
        server.probe.on(Verb::Release).next(outcome);
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        drop(get_now(&lazy));
        drop(lazy.complete().await.unwrap_err());
        drop(lazy.get().await.unwrap());
        let error = scope.close(Exit::Completed).await.unwrap_err();
        assert_eq!(error.verdict(), Exit::Failed);
        assert!(error.problems().iter().any(|problem| matches!(problem, Problem::ReleaseFailed { .. })), "{error}");
        server.finish().await;
    }
}

/// There is no other handle whose release would fail.
#[tokio::test(start_paused = true)]
async fn failed_release_fails_a_request_without_another_handle() {
    let server = server();
    server.probe.on(Verb::Release).next(Outcome::error());
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    drop(lazy.complete().await.unwrap_err());
    assert!(scope.close(Exit::Completed).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn outcome_of_a_release_that_hangs_is_unknown() {
    let server = server();
    server.probe.on(Verb::Release).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    let error = bounded(lazy.complete()).await.unwrap_err();
    assert!(error.is_timeout() && error.is_unknown_outcome(), "{error}");
    drop(get_now(&lazy));
    assert!(scope.close(Exit::Completed).await.unwrap_err().is_unknown_outcome());
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn scope_marked_failed_ends_the_handle_as_failed() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    scope.handle().mark_failed();
    let error = lazy.complete().await.unwrap_err();
    assert!(error.is_failed(), "{error}");
    assert_eq!(server.exits(), [Exit::Failed]);
    drop(scope.close(Exit::Failed).await);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_a_release_that_began_early() {
    for (outcome, succeeds) in [(Outcome::ok(), true), (Outcome::error(), false)] {
        let server = server();
        server.probe.on(Verb::Release).next(outcome.after(Duration::from_secs(1)));
        let scope = server.scopes.open();
        let lazy = scope.lazy(&server.probe);
        drop(get_now(&lazy));
        assert!(poll_once(pin!(lazy.complete())).is_pending());
        let began = Instant::now();
        let closed = scope.close(Exit::Completed).await;
        assert_eq!((began.elapsed().as_secs(), closed.is_ok()), (1, succeeds), "{closed:?}");
        server.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn close_waits_no_longer_than_its_own_timeout() {
    let server = Server::configured(Probe::new().settling(), |builder| builder.close_timeout(Duration::from_secs(2)));
    server.probe.on(Verb::Release).never();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    drop(get_now(&lazy));
    assert!(poll_once(pin!(lazy.complete())).is_pending());
    let began = Instant::now();
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 2);
    assert!(error.is_unknown_outcome(), "{error}");
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn close_while_complete_waits_for_a_guard_cancels_the_handle() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let complete = tokio::spawn(lazy.complete());
    settle().await;
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert!(matches!(error.problems(), [Problem::StillLent { .. }]), "{error}");
    assert!(complete.await.unwrap().unwrap_err().is_closed());
    drop(guard);
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn detach_ends_the_wait_of_complete() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    let complete = tokio::spawn(lazy.complete());
    settle().await;
    let lease = Guard::detach(guard);
    assert!(complete.await.unwrap().unwrap_err().is_closed());
    assert_eq!(get_now(&lazy).id(), 1);
    drop((lease, scope));
    server.finish().await;
}

/// The release began on a runtime that is alive, but not driven any more.
#[test]
fn release_on_a_runtime_that_stands_still_is_given_up() {
    let (still, live, server) = (runtime(), runtime(), server());
    server.probe.on(Verb::Release).slow(2);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    still.block_on(async {
        drop(lazy.get().await.unwrap());
        assert!(poll_once(pin!(lazy.complete())).is_pending());
    });
    live.block_on(async {
        let error = bounded(lazy.get()).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(bounded(lazy.get()).await.unwrap().id(), 1);
        assert!(scope.close(Exit::Completed).await.unwrap_err().is_unknown_outcome());
    });
    still.block_on(settle());
    live.block_on(server.finish());
}

#[test]
fn complete_outside_of_a_runtime_waits_for_nothing() {
    let server = server();
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    assert!(poll_once(pin!(lazy.complete())).is_ready(), "it fails, because it could not keep its deadline");
    drop(guard);
    drop(get_now(&lazy));
    drop(poll_once(pin!(lazy.complete())));
    drop(scope);
    server.assert_balanced();
}

/// The fault: an end that was given up counted as a COMMIT whose outcome is unknown, also if it was a ROLLBACK, so the
/// request failed although nothing of it could have been stored or lost.
#[test]
fn fail_that_is_given_up_does_not_fail_the_request() {
    let (still, live, server) = (runtime(), runtime(), server());
    server.probe.on(Verb::Release).slow(2);
    let scope = server.scopes.open();
    let lazy = scope.lazy(&server.probe);
    still.block_on(async {
        drop(lazy.get().await.unwrap());
        assert!(poll_once(pin!(lazy.fail())).is_pending());
    });
    live.block_on(async {
        assert!(bounded(lazy.get()).await.unwrap_err().is_timeout());
        assert_eq!(bounded(lazy.get()).await.unwrap().id(), 1);
        server.probe.on(Verb::Release).ok();
        scope.close(Exit::Completed).await.unwrap();
    });
    still.block_on(settle());
    live.block_on(server.finish());
}
