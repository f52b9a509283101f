//! L8 to L11: a close, with other operations at the same time.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::probe::{Acquire, Gate, Journal, JournalEntry, Probe};
use super::{drain, model, poll_once};
use crate::{Exit, Guard, Lease, Scopes};

#[test]
fn guard_returned_during_close_is_committed_or_cancelled() {
    model(["committed", "cancelled"], |endings| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce).settling()));
        let scope = scopes.open();
        let guard = block_on(scope.lazy(&probe).get()).unwrap();
        let user = thread::spawn(move || {
            guard.touch();
            drop(guard);
        });
        let outcome = block_on(scope.close(Exit::Completed));
        user.join().unwrap();
        drain(&scopes);
        endings.note(match (outcome, probe.journal.exits("it").as_slice()) {
            (Ok(()), [Exit::Completed]) => "committed",
            (Err(_), [Exit::Cancelled]) => "cancelled",
            _ => "the close returned something else",
        });
    });
}

#[test]
fn close_that_finds_a_dead_handle_also_finds_the_mark() {
    // A scope with a single cell is closed by code of its own.
    for alone in [true, false] {
        model(["found idle", "still lent"], move |endings| {
            // The handle does not settle, so the close does not probe it: only the mark shows its death.
            let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce)));
            let scope = scopes.open();
            if !alone {
                drop(scope.lazy(&Arc::new(Probe::new(Acquire::Never))));
            }
            let mut guard = block_on(scope.lazy(&probe).get()).unwrap();
            let user = thread::spawn(move || {
                guard.cut();
                drop(guard);
            });
            drop(scope.close(Exit::Completed));
            user.join().unwrap();
            drain(&scopes);
            endings.note(match probe.journal.exits("it").as_slice() {
                [Exit::Failed] => "found idle",
                [Exit::Cancelled] => "still lent",
                _ => "incomplete work counts as completed",
            });
        });
    }
}

#[test]
fn handle_is_detached_before_or_after_the_close() {
    model(["detached", "still lent"], |endings| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce).settling()));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        let guard = block_on(lazy.get()).unwrap();
        let user = thread::spawn(move || {
            let lease = Guard::detach(guard);
            lease.touch();
            block_on(Lease::complete(lease)).unwrap();
        });
        let outcome = block_on(scope.close(Exit::Completed));
        user.join().unwrap();
        assert!(block_on(lazy.get()).is_err_and(|error| error.is_closed()));
        drain(&scopes);
        endings.note(match (outcome, probe.journal.exits("it").as_slice()) {
            (Ok(()), [Exit::Completed]) => "detached",
            (Err(_), [Exit::Cancelled]) => "still lent",
            _ => "the close returned something else",
        });
    });
}

#[test]
fn close_dropped_during_a_release_settles_the_rest_in_order() {
    model(["cut", "ended before"], |endings| {
        let (scopes, gate, journal) = (Scopes::new(), Gate::new(), Arc::new(Journal::default()));
        let probe = |name| Arc::new(Probe::new(Acquire::AtOnce).settling().behind(&gate).named(name, &journal));
        let scope = scopes.open();
        for name in ["one", "two"] {
            drop(block_on(scope.lazy(&probe(name)).get()).unwrap());
        }
        let opener = thread::spawn(move || gate.open());
        let mut close = scope.close(Exit::Completed);
        let first = block_on(poll_fn(|cx| Poll::Ready(Pin::new(&mut close).poll(cx))));
        drop(close);
        opener.join().unwrap();
        drain(&scopes);
        let expected = ["two", "one"]
            .map(|name| [JournalEntry::Releasing(name), JournalEntry::Released(name, Exit::Completed)])
            .concat();
        assert_eq!(journal.entries()[2..], expected);
        endings.note(if first.is_pending() { "cut" } else { "ended before" });
    });
}

#[test]
fn waiter_for_the_end_of_a_scope_is_woken() {
    model([], |_| {
        let scopes = Scopes::new();
        let scope = scopes.open();
        let handle = scope.handle().clone();
        let waiter = thread::spawn(move || {
            block_on(handle.closed());
            assert!(handle.is_closed());
        });
        drop(scope);
        waiter.join().unwrap();
        drain(&scopes);
    });
}

#[test]
fn waiter_that_leaves_takes_no_wake_up_of_another() {
    model(["left", "closed before"], |endings| {
        let scopes = Scopes::new();
        let scope = scopes.open();
        let [stays, leaves] = [(); 2].map(|()| scope.handle().clone());
        let staying = thread::spawn(move || block_on(stays.closed()));
        let notes = endings.clone();
        let leaving = thread::spawn(move || {
            // Registers, and is dropped at once.
            let closed = poll_once(leaves.closed(), Waker::noop()).is_some();
            notes.note(if closed { "closed before" } else { "left" });
        });
        drop(scope);
        staying.join().unwrap();
        leaving.join().unwrap();
        drain(&scopes);
    });
}

#[test]
fn waiter_for_the_end_is_woken_after_the_release() {
    // With a release that settles, and with one that a close of its own code runs.
    for settles in [true, false] {
        model([], move |_| {
            let scopes = Scopes::new();
            let probe = Probe::new(Acquire::AtOnce);
            let probe = Arc::new(if settles { probe.settling() } else { probe });
            let scope = scopes.open();
            drop(block_on(scope.lazy(&probe).get()).unwrap());
            let (request, journal) = (scope.handle().clone(), Arc::clone(&probe.journal));
            let waiter = thread::spawn(move || {
                assert_eq!(block_on(request.ended()).unwrap(), Exit::Completed);
                assert!(!settles || journal.exits("it") == [Exit::Completed]);
            });
            drop(scope.close(Exit::Completed));
            waiter.join().unwrap();
            drain(&scopes);
        });
    }
}

#[test]
fn work_registered_during_a_close_runs_or_comes_back() {
    model(["runs", "comes back"], |endings| {
        let (scopes, ran) = (Scopes::new(), Arc::new(AtomicBool::new(false)));
        let scope = scopes.open();
        let (request, work) = (scope.handle().clone(), Arc::clone(&ran));
        let user =
            thread::spawn(move || request.on_completed(async move { work.store(true, Ordering::Relaxed) }).is_ok());
        drop(scope.close(Exit::Completed));
        let registered = user.join().unwrap();
        drain(&scopes);
        assert_eq!(ran.load(Ordering::Relaxed), registered);
        endings.note(if registered { "runs" } else { "comes back" });
    });
}
