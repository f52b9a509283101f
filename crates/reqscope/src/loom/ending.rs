//! L4, L8: a handle that ends early, with other operations at the same time.

use std::sync::Arc;
use std::task::Waker;

use loom::future::block_on;
use loom::thread;

use super::probe::{Acquire, Gate, Probe};
use super::{drain, model, model_within, poll_once};
use crate::{Exit, Scopes};

#[test]
fn get_during_complete_gets_the_handle_before_or_the_next_one() {
    model_within(2, ["before", "next"], |endings| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce).settling()));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        drop(block_on(lazy.get()).unwrap());
        let other = lazy.clone();
        let user = thread::spawn(move || block_on(other.get()).unwrap().touch());
        block_on(lazy.complete()).unwrap();
        user.join().unwrap();
        block_on(scope.close(Exit::Failed)).unwrap();
        drain(&scopes);
        endings.note(match probe.journal.exits("it").as_slice() {
            [Exit::Completed] => "before",
            [Exit::Completed, Exit::Failed] => "next",
            _ => "the handle did not end as completed",
        });
    });
}

#[test]
fn complete_cut_during_a_loan_ends_the_handle_that_is_returned() {
    model(["ended early", "closed before"], |endings| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce).settling()));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        let guard = block_on(lazy.get()).unwrap();
        let user = thread::spawn(move || {
            guard.touch();
            drop(guard);
        });
        drop(poll_once(lazy.complete(), Waker::noop()));
        drop(scope.close(Exit::Failed));
        user.join().unwrap();
        drain(&scopes);
        endings.note(match probe.journal.exits("it").as_slice() {
            [Exit::Completed] => "ended early",
            [Exit::Cancelled] => "closed before",
            _ => "the handle was not released once",
        });
    });
}

#[test]
fn complete_cut_during_its_release_is_awaited_by_the_close() {
    model_within(2, [], |_| {
        let gate = Gate::new();
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce).settling().behind(&gate)));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        drop(block_on(lazy.get()).unwrap());
        let opener = thread::spawn(move || gate.open());
        drop(poll_once(lazy.complete(), Waker::noop()));
        block_on(scope.close(Exit::Completed)).unwrap();
        assert_eq!(probe.journal.exits("it"), [Exit::Completed]);
        opener.join().unwrap();
        drain(&scopes);
    });
}

#[test]
fn two_callers_of_complete_share_one_release() {
    model_within(2, [], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce).settling()));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        let guard = block_on(lazy.get()).unwrap();
        let other = lazy.clone();
        let other = thread::spawn(move || block_on(other.complete()).unwrap());
        drop(guard);
        block_on(lazy.complete()).unwrap();
        other.join().unwrap();
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
        assert_eq!(probe.journal.exits("it"), [Exit::Completed]);
    });
}
