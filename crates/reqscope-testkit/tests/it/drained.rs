use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use reqscope::observer::Subject;
use reqscope::{Exit, Lease, Observer, Scopes};
use reqscope_testkit::{Ledger, Probe, Verb, drained, expect_panic, quiet_panic};

/// Runs the future on a paused clock, and returns the message of its panic.
fn message(code: impl AsyncFnOnce()) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    expect_panic(AssertUnwindSafe(|| runtime.block_on(code())))
}

#[tokio::test(start_paused = true)]
async fn drained_waits_for_a_release_in_the_background() {
    let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new()));
    probe.on(Verb::Release).slow(5);
    let scope = scopes.open();
    drop(scope.lazy(&probe).get().await.unwrap());
    drop(scope);
    drained(&scopes).await;
    assert_eq!(probe.counts().released, 1);
}

#[test]
fn open_scope_and_live_handle_are_named() {
    let said = message(async || {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new()));
        let scope = scopes.open();
        let _held = scope.lazy(&probe).get().await.unwrap();
        let _leased = Lease::acquire_in(scopes.reaper(), &probe).await.unwrap();
        drained(&scopes).await;
    });
    let line = line!() - 2;
    assert!(said.contains(&format!("drained.rs:{line}:")), "{said}");
    assert!(said.contains("the scopes are not clean after 10.0s:"), "{said}");
    assert!(said.contains("1 scope is open: a handler still runs"), "{said}");
    assert!(said.contains("2 handles are live: a guard, a lease or a response body"), "{said}");
    assert!(!said.contains("release") && !said.contains("acquisition"), "{said}");
}

#[test]
fn running_acquisition_is_named() {
    let said = message(async || {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new()));
        probe.on(Verb::Acquire).never();
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        tokio::select! {
            biased;
            answer = lazy.get() => panic!("{:?}", answer.map(drop)),
            () = drained(&scopes) => {}
        }
    });
    assert!(said.contains("1 acquisition is running: a backend does not answer"), "{said}");
}

#[test]
fn abandoned_release_is_named() {
    let said = message(async || {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new()));
        probe.on(Verb::Release).never();
        let scope = scopes.open();
        drop(scope.lazy(&probe).get().await.unwrap());
        scope.close(Exit::Completed).await.unwrap();
        drained(&scopes).await;
    });
    assert!(said.contains("after 5.0s:\n  1 handle was abandoned: its release missed its deadline"), "{said}");
}

/// The mail that was not sent was seen by no test: a drain waits for the future of `on_completed`, and asks only whether
/// it has ended.
#[test]
fn failed_task_is_named() {
    let said = message(async || {
        let scopes = Scopes::new();
        let scope = scopes.open();
        scope.handle().on_completed(async { quiet_panic("no mail server") }).unwrap();
        scope.close(Exit::Completed).await.unwrap();
        drained(&scopes).await;
    });
    assert!(said.contains("1 task has failed: a future of `on_completed` or `Reaper::spawn` panicked"), "{said}");
}

/// A future that has failed before the drain began is found, too.
#[test]
fn task_that_failed_before_the_drain_is_named() {
    let said = message(async || {
        let (ledger, scopes) = (Ledger::new(), Scopes::new());
        scopes.reaper().spawn(pending());
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(scopes.stats().tasks_failed, 1);
        ledger.drained(&scopes).await;
    });
    assert!(said.contains("1 task has failed"), "{said}");
}

/// An assertion in an observer was caught as any panic in an observer is, and the test passed.
#[test]
fn panic_in_the_observer_is_named() {
    struct Asserting;
    impl Observer for Asserting {
        fn released(&self, _of: Subject, exit: Exit) {
            quiet_panic(format!("expected another exit than {exit}"));
        }
    }
    let said = message(async || {
        let scopes = Scopes::builder().observer(Asserting).build();
        let scope = scopes.open();
        drop(scope.lazy(&Arc::new(Probe::new())).get().await.unwrap());
        scope.close(Exit::Completed).await.unwrap();
        drained(&scopes).await;
    });
    assert!(said.contains("1 call of the observer has panicked"), "{said}");
}

#[test]
fn ledger_names_the_line_that_acquired() {
    let said = message(async || {
        let (ledger, probe) = (Ledger::new(), Arc::new(Probe::new()));
        let scopes = Scopes::builder().observer(ledger.observer()).build();
        let _leased = Lease::acquire_in(scopes.reaper(), &probe).await.unwrap();
        ledger.drained(&scopes).await;
    });
    let line = line!() - 3;
    assert!(said.contains("1 handle is live"), "{said}");
    assert!(said.contains(&format!("drained.rs:{line}:")), "{said}");
    assert!(said.contains(": 1 acquired, 0 released, 0 abandoned"), "{said}");
}
