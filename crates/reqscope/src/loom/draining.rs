//! L16: a drain ends when nothing is open any more, and the counters are complete then.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::probe::{Acquire, Gate, Probe};
use super::{model, model_within, poll_once};
use crate::{Exit, Lease, Reaper, Scopes};

#[test]
fn drains_wait_for_work_that_arrives_meanwhile() {
    model_within(1, [], |_| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::AtOnce)));
        let scope = scopes.open();
        let drain = |scopes: Scopes| {
            let report = block_on(scopes.drain(Duration::from_secs(1)));
            assert!(report.is_clean(), "{report:?}");
            // The counters are visible although no thread has been joined yet.
            let stats = scopes.stats();
            assert_eq!((stats.acquired, stats.released, stats.live), (1, 1, 0), "{stats:?}");
        };
        let theirs = scopes.clone();
        let drainer = thread::spawn(move || drain(theirs));
        let feeder = thread::spawn(move || {
            drop(block_on(scope.lazy(&probe).get()).unwrap());
            drop(scope);
        });
        drain(scopes);
        drainer.join().unwrap();
        feeder.join().unwrap();
    });
}

#[test]
fn idle_drain_takes_no_wake_up_of_another() {
    model_within(2, [], |_| {
        let (reaper, probe) = (Reaper::new(), Arc::new(Probe::new(Acquire::AtOnce)));
        let (feeding, draining) = (reaper.clone(), reaper.clone());
        let feeder = thread::spawn(move || drop(block_on(Lease::acquire_in(&feeding, &probe)).unwrap()));
        let drainer = thread::spawn(move || block_on(draining.drain(Duration::from_secs(1))).abandoned);
        assert_eq!(block_on(reaper.drain(Duration::from_secs(1))).abandoned, 0);
        assert_eq!(drainer.join().unwrap(), 0);
        feeder.join().unwrap();
        assert_eq!(reaper.stats().released, 1);
    });
}

#[test]
fn drain_that_is_dropped_takes_no_wake_up_of_another() {
    model_within(2, ["left", "idle before"], |endings| {
        let scopes = Scopes::new();
        let scope = scopes.open();
        let (draining, leaving) = (scopes.clone(), scopes);
        let drainer = thread::spawn(move || assert!(block_on(draining.drain(Duration::from_secs(1))).is_clean()));
        let closer = thread::spawn(move || drop(scope));
        // Registers, and is dropped at once.
        let idle = poll_once(leaving.drain(Duration::from_secs(1)), Waker::noop()).is_some();
        endings.note(if idle { "idle before" } else { "left" });
        drainer.join().unwrap();
        closer.join().unwrap();
    });
}

#[test]
fn drain_that_sees_an_end_sees_its_beginning_elsewhere() {
    model([], |_| {
        let scopes = Scopes::new();
        let first = scopes.open();
        let (opening, over) = (scopes.clone(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&over);
        let opener = thread::spawn(move || {
            opening.reaper().accounting().spread();
            let second = opening.open();
            drop(first);
            // Closed by a third thread.
            thread::spawn(move || {
                ends.store(true, Ordering::Relaxed);
                drop(second);
            });
        });
        assert!(block_on(scopes.drain(Duration::from_secs(1))).is_clean());
        assert!(over.load(Ordering::Relaxed), "the second scope was open");
        assert_eq!(scopes.stats().opened_scopes, 2);
        opener.join().unwrap();
    });
}

#[test]
fn threads_that_open_scopes_at_the_same_time_are_both_counted() {
    model_within(2, ["met", "did not meet"], |endings| {
        let scopes = Scopes::new();
        let scope = scopes.open();
        let opening = scopes.clone();
        let opener = thread::spawn(move || drop(opening.open()));
        drop(scopes.open());
        drop(scope);
        block_on(scopes.drain(Duration::from_secs(1)));
        opener.join().unwrap();
        assert!(block_on(scopes.drain(Duration::from_secs(1))).is_clean());
        assert_eq!(scopes.stats().opened_scopes, 3);
        endings.note(if scopes.reaper().accounting().is_spread() { "met" } else { "did not meet" });
    });
}

#[test]
fn drain_waits_for_a_background_release() {
    model([], |_| {
        let (reaper, gate) = (Reaper::new(), Gate::new());
        let probe = Arc::new(Probe::new(Acquire::AtOnce).behind(&gate));
        let lease = block_on(Lease::acquire_in(&reaper, &probe)).unwrap();
        let opener = thread::spawn(move || gate.open());
        drop(lease);
        let report = block_on(reaper.drain(Duration::from_secs(1)));
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(probe.journal.exits("it"), [Exit::Cancelled]);
        opener.join().unwrap();
    });
}
