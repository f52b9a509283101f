//! The verdict, the order and the problems of a close: L10 its three phases, L11 no success without a commit.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use reqscope::error::{Class, Stage};
use reqscope::future::Close;
use reqscope::scope::{Problem, TryGetError};
use reqscope::{CloseError, Error, Exit, Guard, Health, Resource, Scope};
use reqscope_testkit::{Gate, Probe, Scripted, Verb, expect_panic, poll_once, quiet_panic};

use crate::hooked::{At, Hooked};
use crate::support::{Event, Server, bounded, get_now, settle};

/// Creates a server with resources that share their counters; `true` settles.
pub(crate) fn resources<const N: usize>(settling: [bool; N]) -> (Server, [Arc<Probe>; N]) {
    let server = Server::new();
    let all = settling.map(|settles| {
        let sibling = server.probe.sibling();
        Arc::new(if settles { sibling.settling() } else { sibling })
    });
    (server, all)
}

/// Opens a scope and uses the resources in order: handle 0 is that of the first one.
pub(crate) fn used<const N: usize>(server: &Server, all: &[Arc<Probe>; N]) -> Scope {
    let scope = server.scopes.open();
    all.iter().for_each(|resource| drop(get_now(&scope.lazy(resource))));
    scope
}

pub(crate) fn each_release(all: &[Arc<Probe>], outcome: fn(&Gate) -> &Gate) {
    for resource in all {
        outcome(resource.on(Verb::Release));
    }
}

pub(crate) async fn problem(close: Close) -> Problem {
    let error = bounded(close).await.unwrap_err();
    let [problem] = error.problems() else { panic!("more than one: {error}") };
    problem.clone()
}

#[tokio::test(start_paused = true)]
async fn settling_handles_are_released_first_in_reverse_order() {
    let (server, all) = resources([false, true, false, true, true, false]);
    let scope = used(&server, &all);
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(server.order()[..3], [4, 3, 1], "the close awaits these");
    server.finish().await;
    assert_eq!(server.order(), [4, 3, 1, 5, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn release_order_follows_acquisition_not_first_use() {
    let (server, [first, second]) = resources([true, true]);
    let scope = server.scopes.open();
    let (asked_first, asked_second) = (scope.lazy(&first), scope.lazy(&second));
    drop(get_now(&asked_first)); // Handle 0.
    drop(get_now(&asked_second)); // Handle 1.
    drop(Guard::detach(get_now(&asked_first)));
    drop(get_now(&asked_first)); // Handle 2, acquired last.
    settle().await; // Releases the dropped lease.
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(server.order(), [0, 2, 1]);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn close_without_success_settles_nothing_and_never_waits() {
    for exit in [Exit::Failed, Exit::Cancelled, Exit::Panicked] {
        let (server, all) = resources([true, false, true]);
        each_release(&all, Gate::close);
        let scope = used(&server, &all);
        let outcome = poll_once(pin!(scope.close(exit)));
        assert!(matches!(outcome, std::task::Poll::Ready(Ok(()))), "{exit}");
        settle().await;
        assert_eq!(server.order(), [2, 1, 0]);
        each_release(&all, Gate::error);
        server.finish().await;
        assert_eq!(server.exits(), [exit; 3]);
        assert_eq!(server.events.count(Event::ReleaseFailed(exit)), 3, "failed rollbacks go to the observer only");
    }
}

/// A close without anything to release spawns no task.
#[tokio::test(start_paused = true)]
async fn background_releases_of_a_close_share_one_task() {
    let (server, all) = resources([false, false, false]);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let unused = server.scopes.open();
    all.iter().for_each(|resource| drop(unused.lazy(resource)));
    unused.close(Exit::Completed).await.unwrap();
    assert_eq!(tasks(), before);

    each_release(&all, Gate::close);
    used(&server, &all).close(Exit::Completed).await.unwrap();
    assert_eq!(tasks(), before + 1);
    each_release(&all, Gate::ok);
    server.finish().await;
}

/// Most releases end at once, and a task costs more than they do.
#[tokio::test(start_paused = true)]
async fn release_that_is_ready_at_once_needs_no_task() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let (server, all) = resources([false, false]);
    used(&server, &all).close(Exit::Completed).await.unwrap();
    assert_eq!(server.order(), [1, 0]);
    let [first, _] = all;
    used(&server, &[first]).close(Exit::Failed).await.unwrap();
    assert_eq!((server.order().as_slice(), tasks()), ([1, 0, 2].as_slice(), before));
    server.finish().await;
}

/// The dropping thread may hold any lock.
#[tokio::test(start_paused = true)]
async fn dropped_scope_runs_no_release_on_its_thread() {
    for handles in [1, 2] {
        let (server, all) = resources([false, false]);
        let scope = server.scopes.open();
        all[..handles].iter().for_each(|resource| drop(get_now(&scope.lazy(resource))));
        drop(scope);
        assert_eq!(server.order(), []);
        server.finish().await;
        assert_eq!(server.order().len(), handles);
    }
}

/// The other releases wait for all of them.
#[tokio::test(start_paused = true)]
async fn settling_releases_run_one_after_another() {
    let (server, all) = resources([false, true, true]);
    let [other, first, second] = &all;
    first.on(Verb::Release).close();
    second.on(Verb::Release).close();
    let scope = used(&server, &all);
    let close = tokio::spawn(scope.close(Exit::Completed));
    settle().await;
    assert_eq!(server.order(), [2]);
    second.on(Verb::Release).ok();
    settle().await;
    assert_eq!(server.order(), [2, 1]);
    assert_eq!(other.on(Verb::Release).calls(), 0);
    first.on(Verb::Release).ok();
    close.await.unwrap().unwrap();
    server.finish().await;
    assert_eq!(server.order(), [2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn handle_waiting_for_its_release_is_not_lent() {
    let (server, all) = resources([true, true]);
    let [later, first] = &all;
    first.on(Verb::Release).close();
    let scope = used(&server, &all);
    let lazy = scope.lazy(later);
    let mut close = pin!(scope.close(Exit::Completed));
    assert!(poll_once(close.as_mut()).is_pending());
    assert!(matches!(lazy.try_get(), Err(TryGetError::Closed)));
    assert!(lazy.get().await.unwrap_err().is_closed());
    first.on(Verb::Release).ok();
    close.await.unwrap();
    server.finish().await;
    assert_eq!(server.order(), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn failing_release_stops_no_other_and_all_are_reported() {
    let (server, all) = resources([true, true, true, false]);
    all[0].on(Verb::Release).error();
    all[2].on(Verb::Release).panic();
    let scope = used(&server, &all);
    let error = scope.close(Exit::Completed).await.unwrap_err();
    let errors: Vec<_> = error.problems().iter().map(release_error).collect();
    let [panicked, failed] = &errors[..] else { panic!("{error}") };
    assert!(panicked.is_panicked() && !failed.is_panicked());
    assert_eq!((panicked.stage(), failed.stage()), (Some(Stage::Releasing), Some(Stage::Releasing)));
    assert!(failed.cause().is_some());
    assert_eq!((error.requested(), error.verdict()), (Exit::Completed, Exit::Completed));
    assert!(error.source().unwrap().to_string().contains("panicked"), "the first problem");
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed; 4]);
    assert_eq!(server.stats().release_failed, 2);
}

/// Returns the error of a release that failed.
#[track_caller]
pub(crate) fn release_error(problem: &Problem) -> Error<Scripted> {
    let Problem::ReleaseFailed { error, resource } = problem else { panic!("{problem:?}") };
    assert_eq!(*resource, std::any::type_name::<Probe>());
    error.downcast_ref::<Error<Scripted>>().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn lent_settling_handle_fails_the_close() {
    let (server, all) = resources([true, true, false]);
    let scope = used(&server, &all);
    let (guard, line) = (get_now(&scope.lazy(&all[0])), line!());
    let error = scope.close(Exit::Completed).await.unwrap_err();
    let [Problem::StillLent { since, .. }, Problem::NotCompleted { .. }] = error.problems() else {
        panic!("{error}");
    };
    assert_eq!(since.line(), line);
    assert_eq!((error.requested(), error.verdict()), (Exit::Completed, Exit::Failed));
    drop(guard);
    server.finish().await;
    let mut exits = server.exits();
    exits.sort();
    assert_eq!(exits, [Exit::Failed, Exit::Failed, Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn settling_handle_being_acquired_fails_the_close() {
    let (server, all) = resources([true, true]);
    all[1].on(Verb::Acquire).never();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&all[0])));
    let acquiring = scope.lazy(&all[1]);
    assert!(poll_once(pin!(acquiring.get())).is_pending());
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert!(matches!(error.problems(), [Problem::StillAcquiring { .. }, Problem::NotCompleted { .. }]), "{error}");
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed]);
}

#[tokio::test(start_paused = true)]
async fn dead_settling_handle_fails_the_close() {
    // The handle dies after its guard was dropped, so only the close can notice.
    let (server, all) = resources([true, false]);
    let scope = used(&server, &all);
    all[0].set_health(Health::Dead);
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert!(matches!(error.problems(), [Problem::Dead { .. }, ..]), "{error}");
    assert_eq!(error.verdict(), Exit::Failed);
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed; 2]);
}

#[tokio::test(start_paused = true)]
async fn other_handles_may_be_lent_or_dead_at_the_close() {
    let (server, all) = resources([true, false, false, false]);
    let [settling, acquiring, dead, lent] = &all;
    acquiring.on(Verb::Acquire).never();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(settling)));
    drop(get_now(&scope.lazy(dead)));
    dead.set_health(Health::Dead);
    assert!(poll_once(pin!(scope.lazy(acquiring).get())).is_pending());
    let lent = get_now(&scope.lazy(lent));
    scope.close(Exit::Completed).await.unwrap();
    drop(lent);
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Completed, Exit::Completed, Exit::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn rollback_under_a_success_is_a_problem() {
    let (server, all) = resources([true, false]);
    let scope = used(&server, &all);
    scope.handle().mark_failed();
    let problem = problem(scope.close(Exit::Completed)).await;
    let Problem::NotCompleted { resource } = problem else { panic!("{problem:?}") };
    assert_eq!(resource, std::any::type_name::<Probe>());
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed; 2]);

    let (server, all) = resources([false]);
    let scope = used(&server, &all);
    scope.handle().mark_failed();
    scope.close(Exit::Completed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn guard_returned_with_a_dead_handle_marks_the_scope() {
    let (server, all) = resources([true, false]);
    let scope = used(&server, &all);
    // An operation on the other handle is cut, as by a timeout inside the request handler.
    all[1].on(Verb::Operate).never();
    let mut guard = get_now(&scope.lazy(&all[1]));
    assert!(poll_once(pin!(guard.operate())).is_pending());
    drop(guard);
    assert!(matches!(problem(scope.close(Exit::Completed)).await, Problem::NotCompleted { .. }));
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn guard_dropped_by_a_caught_panic_marks_the_scope() {
    let (server, all) = resources([true]);
    let scope = used(&server, &all);
    let guard = get_now(&scope.lazy(&all[0]));
    expect_panic(move || {
        let _guard = guard;
        panic!("in the handler");
    });
    assert!(matches!(problem(scope.close(Exit::Completed)).await, Problem::NotCompleted { .. }));
    server.finish().await;
    assert_eq!(server.exits(), [Exit::Failed]);
}

#[tokio::test(start_paused = true)]
async fn failures_of_other_releases_go_to_the_observer_only() {
    let (server, all) = resources([true, false, false]);
    all[1].on(Verb::Release).error();
    all[2].on(Verb::Release).panic();
    used(&server, &all).close(Exit::Completed).await.unwrap();
    server.finish().await;
    assert_eq!(server.events.count(Event::ReleaseFailed(Exit::Completed)), 2);
    assert_eq!(server.stats().released, 3);
}

#[tokio::test(start_paused = true)]
async fn reclaimed_settling_handle_is_not_waited_for() {
    let server = Server::with(Probe::new().settling().reclaiming());
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let close = scope.close(Exit::Completed);
    assert_eq!(server.exits(), [Exit::Completed], "before the future is polled");
    close.await.unwrap();
    server.finish().await;
    assert_eq!(server.probe.counts().reclaimed, 1);
}

#[tokio::test(start_paused = true)]
async fn resource_that_panics_in_settles_counts_as_settling() {
    let server = Server::new();
    let bomb = Hooked::bomb(At::Settles);
    let scope = server.scopes.open();
    let guard = get_now(&scope.lazy(&bomb));
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert!(matches!(error.problems(), [Problem::StillLent { .. }]), "{error}");
    drop(guard);
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&bomb)));
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(bomb.dropped(), 1, "the close waited for its release");
    server.scopes.drain(Duration::from_secs(1)).await;
    assert_eq!(bomb.dropped(), 2);
}

#[tokio::test(start_paused = true)]
async fn panic_in_reclaim_fails_the_close() {
    let server = Server::new();
    // A panic in `settles` counts as true.
    let bombs = Hooked::new(|at| {
        if matches!(at, At::Settles | At::Reclaim) {
            quiet_panic("the bomb goes off");
        }
    });
    let scope = server.scopes.open();
    drop(scope.lazy(&bombs).get().await.unwrap());
    let problem = problem(scope.close(Exit::Completed)).await;
    assert!(matches!(problem, Problem::ReleaseFailed { .. }), "{problem:?}");
    assert_eq!(server.events.count(Event::ReleaseFailed(Exit::Completed)), 1);
}

#[tokio::test(start_paused = true)]
async fn close_error_names_everything_in_one_line() {
    let (server, all) = resources([true, true]);
    all[0].on(Verb::Release).error();
    let scope = used(&server, &all);
    let error: CloseError = scope.close(Exit::Completed).await.unwrap_err();
    let line = "the scope closed as `completed` with errors: the release of Probe failed";
    assert_eq!(error.to_string(), line);
    assert_eq!(error.clone().problems().len(), 1);
}

/// A COMMIT whose answer is not awaited to the end may have taken effect. One that was refused, or that never began,
/// has not.
#[tokio::test(start_paused = true)]
async fn close_error_says_whether_the_outcome_is_unknown() {
    let outcome = async |set_up: fn(&Gate) -> &Gate| {
        let (server, all) = resources([true]);
        each_release(&all, set_up);
        let error = used(&server, &all).close(Exit::Completed).await.unwrap_err();
        each_release(&all, Gate::ok);
        server.finish().await;
        error.is_unknown_outcome()
    };
    assert!(outcome(Gate::never).await, "the deadline is missed");
    assert!(outcome(Gate::panic).await);
    assert!(!outcome(Gate::error).await, "the backend has refused");

    let (server, all) = resources([true]);
    let scope = used(&server, &all);
    scope.handle().mark_failed();
    assert!(!scope.close(Exit::Completed).await.unwrap_err().is_unknown_outcome(), "a rollback");
    server.finish().await;
}

/// Two settling releases hang: the first uses up the time of the close, so that the second is polled once, and left.
#[tokio::test(start_paused = true)]
async fn release_still_running_has_an_unknown_outcome() {
    let (server, all) = resources([true, true]);
    all[0].on(Verb::Release).close();
    all[1].on(Verb::Release).never();
    let error = used(&server, &all).close(Exit::Completed).await.unwrap_err();
    assert!(error.problems().iter().any(|problem| matches!(problem, Problem::StillReleasing { .. })), "{error}");
    assert!(error.is_unknown_outcome());
    assert!(Class::find(&error).is_some_and(|class| class.is_unknown_outcome()), "a server must not invite a repeat");
    all[0].on(Verb::Release).ok();
    server.finish().await;
}

/// The fault: the class of the first failed release was found, so a client was invited by a 503 to repeat a request of
/// which another resource had committed its part.
#[tokio::test(start_paused = true)]
async fn close_error_does_not_have_the_class_of_one_release() {
    struct Refusing;

    impl Resource for Refusing {
        type Handle = ();
        type Cause = Infallible;

        async fn acquire(&self) -> Result<(), Error<Infallible>> {
            Ok(())
        }

        async fn release(&self, (): (), _exit: Exit) -> Result<(), Error<Infallible>> {
            Err(Error::unavailable())
        }

        fn settles(&self, exit: Exit) -> bool {
            exit.is_completed()
        }
    }

    let server = Server::with(Probe::new().settling());
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&Arc::new(Refusing))));
    drop(get_now(&scope.lazy(&server.probe)));
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert_eq!(server.exits(), [Exit::Completed], "the other one has committed");
    assert!(!error.is_unknown_outcome(), "{error}");
    let in_a_resource = Error::failed(error.clone());
    let in_another_error = io::Error::other(error.clone());
    for error in [&error as &dyn std::error::Error, &in_a_resource, &in_another_error] {
        let class = Class::find(error).unwrap();
        assert!(class.is_failed() && !class.is_unavailable(), "{class:?}");
        assert_eq!(class.stage(), Some(Stage::Releasing));
    }
}

#[tokio::test]
async fn close_that_failed_at_once_is_shown_as_done() {
    let (server, all) = resources([true]);
    let scope = used(&server, &all);
    let lent = get_now(&scope.lazy(&all[0]));
    let close = scope.close(Exit::Completed);
    assert!(format!("{close:?}").contains("done: true"), "{close:?}");
    close.await.unwrap_err();
    drop(lent);
}
