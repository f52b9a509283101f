//! L4: one handle, one user at a time, and a wake-up for each waiter.

use std::sync::Arc;
use std::task::Waker;

use loom::future::block_on;
use loom::thread;

use super::probe::{Acquire, Probe};
use super::{drain, model, poll_once};
use crate::{Exit, Guard, Lease, Scopes};

#[test]
fn waiter_that_leaves_takes_no_wake_up_with_it() {
    model([], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce)));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        let guard = block_on(lazy.get()).unwrap();
        let (leaver, waiter) = (lazy.clone(), lazy);
        // Polled once, and then dropped.
        let leaver = thread::spawn(move || drop(poll_once(leaver.get(), Waker::noop())));
        let waiter = thread::spawn(move || block_on(waiter.get()).unwrap().touch());
        guard.touch();
        drop(guard);
        leaver.join().unwrap();
        waiter.join().unwrap();
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
        assert_eq!(probe.journal.exits("it"), [Exit::Completed]);
    });
}

#[test]
fn waiter_gets_its_own_handle_after_a_detach() {
    model([], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce)));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        let guard = block_on(lazy.get()).unwrap();
        let waiter = thread::spawn(move || block_on(lazy.get()).unwrap().touch());
        let lease = Guard::detach(guard);
        lease.touch();
        waiter.join().unwrap();
        block_on(Lease::fail(lease)).unwrap();
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
        assert_eq!(probe.journal.exits("it"), [Exit::Failed, Exit::Completed]);
    });
}

#[test]
fn failed_try_get_strands_no_waiter() {
    model([], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::Soon)));
        let scope = scopes.open();
        let (trier, waiter) = (scope.lazy(&probe), scope.lazy(&probe));
        let trier = thread::spawn(move || drop(trier.try_get()));
        block_on(waiter.get()).unwrap().touch();
        trier.join().unwrap();
        block_on(scope.close(Exit::Completed)).unwrap();
        drain(&scopes);
        assert_eq!(probe.journal.acquired(), 1);
    });
}
