//! L4, L5, L7: one acquisition for all concurrent callers, even if one of them leaves.

use std::sync::Arc;
use std::task::Waker;

use loom::future::block_on;
use loom::thread;

use super::probe::{Acquire, Probe};
use super::runtime::end_all_tasks;
use super::{drain, model, model_within, poll_once};
use crate::{Exit, Scopes};

#[test]
fn two_first_uses_make_one_acquisition() {
    for acquire in [|| Acquire::AtOnce, || Acquire::Soon] {
        model_within(2, [], move |_| {
            let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(acquire())));
            let scope = scopes.open();
            let (one, other) = (scope.lazy(&probe), scope.lazy(&probe));
            let user = thread::spawn(move || block_on(one.get()).unwrap().touch());
            block_on(other.get()).unwrap().touch();
            user.join().unwrap();
            block_on(scope.close(Exit::Completed)).unwrap();
            drain(&scopes);
            assert_eq!(probe.journal.acquired(), 1);
            assert_eq!(probe.journal.exits("it"), [Exit::Completed]);
        });
    }
}

#[test]
fn first_user_that_leaves_strands_no_other_user() {
    model([], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::Soon)));
        let scope = scopes.open();
        let (one, other) = (scope.lazy(&probe), scope.lazy(&probe));
        let leaver = thread::spawn(move || drop(poll_once(one.get(), Waker::noop())));
        block_on(other.get()).unwrap().touch();
        leaver.join().unwrap();
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
        assert_eq!(probe.journal.acquired(), 1);
        assert_eq!(probe.journal.exits("it"), [Exit::Completed]);
    });
}

#[test]
fn caller_gets_the_error_of_the_attempt_it_began() {
    model([], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::Error)));
        let scope = scopes.open();
        assert!(block_on(scope.lazy(&probe).get()).unwrap_err().is_unavailable());
        assert_eq!(probe.attempts(), 1);
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
    });
}

#[test]
fn attempt_lost_with_its_task_is_begun_again() {
    model_within(1, [], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::NotTheFirst)));
        let scope = scopes.open();
        let mut beginner = Box::pin(scope.lazy(&probe).get());
        assert!(poll_once(beginner.as_mut(), Waker::noop()).is_none());
        let other = scope.lazy(&probe);
        let user = thread::spawn(move || block_on(other.get()).unwrap().touch());
        end_all_tasks();
        assert!(block_on(beginner).is_err_and(|error| error.is_runtime()));
        user.join().unwrap();
        assert_eq!(probe.attempts(), 2);
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
    });
}

#[test]
fn waiter_shares_the_error_or_makes_the_next_attempt() {
    model_within(2, ["shared", "two attempts"], |endings| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::Error)));
        let scope = scopes.open();
        let (one, other) = (scope.lazy(&probe), scope.lazy(&probe));
        let user = thread::spawn(move || assert!(block_on(one.get()).unwrap_err().is_unavailable()));
        assert!(block_on(other.get()).unwrap_err().is_unavailable());
        user.join().unwrap();
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
        endings.note(match probe.attempts() {
            1 => "shared",
            2 => "two attempts",
            _ => "more attempts than users",
        });
    });
}
