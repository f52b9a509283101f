//! A scope reuses the allocation of an earlier one, and nothing else of it.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use reqscope::{Exit, Observer, Scope, ScopeHandle, Scopes};
use reqscope_testkit::{Probe, Verb, poll_once};

use crate::support::{Server, get_now, runtime, settle};

#[test]
fn new_scope_keeps_nothing_of_the_one_before() {
    let _entered = runtime().enter();
    let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new().reclaiming()));
    let before = scopes.open();
    before.set_deadline(Instant::now() + Duration::from_secs(1));
    before.handle().mark_failed();
    drop(get_now(&before.lazy(&probe)));
    drop(before.close(Exit::Completed));

    let after = scopes.open();
    assert_eq!((after.handle().deadline(), after.handle().is_closed()), (None, false));
    assert_eq!(get_now(&after.lazy(&probe)).id(), 1, "a new handle");
    drop(after.close(Exit::Completed));
    let exits: Vec<_> = probe.releases().iter().map(|release| release.exit).collect();
    assert_eq!(exits, [Exit::Failed, Exit::Completed]);
}

/// The details of a scope are read only if it has set any, so they are looked at after it has.
#[test]
fn first_detail_of_a_scope_brings_none_of_the_one_before() {
    let scopes = Scopes::new();
    let before = scopes.open();
    before.set_tenant("acme");
    before.set_deadline(Instant::now());
    drop(before);
    let after = scopes.open();
    after.set_label("GET /");
    assert_eq!((after.handle().tenant(), after.handle().deadline()), (None, None));
}

#[test]
fn scope_handle_stays_with_its_own_scope() {
    let scopes = Scopes::new();
    let before = scopes.open();
    let kept = before.handle().clone();
    drop(before);

    let after = scopes.open();
    assert!(kept.is_closed());
    assert!(!after.handle().is_closed());
}

#[test]
fn server_state_is_freed_with_its_last_scope() {
    struct Log(#[expect(dead_code, reason = "it is counted")] Arc<()>);

    impl Observer for Log {}

    let log = Arc::new(());
    let scopes = Scopes::builder().observer(Log(log.clone())).build();
    let (first, last) = (scopes.open(), scopes.open());
    drop((scopes, first));
    assert_eq!(Arc::strong_count(&log), 2);
    drop(last);
    assert_eq!(Arc::strong_count(&log), 1);
}

/// Holds a scope until the end of the thread, and opens another one in its drop.
struct Last {
    scopes: Scopes,
    scope: Option<Scope>,
}

impl Drop for Last {
    fn drop(&mut self) {
        drop(self.scope.take());
        drop(self.scopes.open());
    }
}

/// L15 in the destructors of thread-locals.
#[test]
fn scope_may_be_dropped_last_in_its_thread() {
    thread_local! {
        static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    }

    // The order of the destructors depends on the first use, so the scope is dropped first once, and last once.
    for used_before in [false, true] {
        let scopes = Scopes::new();
        let here = scopes.clone();
        let thread = thread::spawn(move || {
            if used_before {
                drop(here.open());
            }
            LAST.with_borrow_mut(|last| *last = Some(Last { scopes: here.clone(), scope: Some(here.open()) }));
            drop(here.open());
        });
        thread.join().expect("the drop does not panic");
        assert_eq!(scopes.stats().open_scopes, 0);
    }
}

/// What happens in one scope.
#[derive(Clone, Debug)]
struct Life {
    described: bool,
    marked: bool,
    waited_for: bool,
    /// Futures of `on_completed`.
    works: usize,
    /// Whether a handle is completed early, and whether that succeeds.
    early: Option<bool>,
    /// Whether a handle is left to the close.
    used: bool,
    /// The exit of the close, and whether a COMMIT in it fails. The scope is dropped without one.
    close: Option<(bool, bool)>,
    /// Whether a `ScopeHandle` lives on during the next scope.
    kept: bool,
}

fn lives() -> impl Strategy<Value = Life> {
    let flags = any::<[bool; 5]>();
    (flags, 0..3_usize, any::<Option<bool>>(), any::<Option<(bool, bool)>>()).prop_map(
        |(flags, works, early, close)| {
            let [described, marked, waited_for, used, kept] = flags;
            Life { described, marked, waited_for, works, early, used, close, kept }
        },
    )
}

/// Lives one life, and compares its end with what this life alone explains.
async fn live(server: &Server, life: &Life) -> ScopeHandle {
    let scope = server.scopes.open();
    let request = scope.handle().clone();
    assert_eq!((request.label(), request.tenant(), request.deadline()), (None, None, None));
    assert!(!request.is_closed());
    assert!(poll_once(pin!(request.closed())).is_pending() && poll_once(pin!(request.ended())).is_pending());

    if life.described {
        scope.set_label("GET /");
        scope.set_tenant("acme");
        scope.set_deadline(Instant::now() + Duration::from_secs(3600));
    }
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..life.works {
        let ran = ran.clone();
        let count = async move { _ = ran.fetch_add(1, Ordering::Relaxed) };
        request.on_completed(count).unwrap();
    }
    let waiters = life.waited_for.then(|| (tokio::spawn(request.closed()), tokio::spawn(request.ended())));
    settle().await;
    let lazy = scope.lazy(&server.probe);
    if let Some(succeeds) = life.early {
        drop(get_now(&lazy));
        if !succeeds {
            server.probe.on(Verb::Release).error();
        }
        assert_eq!(lazy.complete().await.is_ok(), succeeds);
    }
    if life.marked {
        request.mark_failed();
    }
    if life.used {
        drop(get_now(&lazy));
    }

    let failed = life.marked || life.early == Some(false);
    let (outcome, verdict) = match life.close {
        None => {
            drop(scope);
            (true, Exit::Cancelled)
        }
        Some((completes, refused)) => {
            let requested = if completes { Exit::Completed } else { Exit::Failed };
            let commits = life.used && completes && !failed;
            if commits && refused {
                server.probe.on(Verb::Release).error();
            }
            let outcome = scope.close(requested).await.is_ok();
            let undone = life.early == Some(false) || life.marked && life.used;
            assert_eq!(outcome, !(commits && refused || completes && undone));
            (outcome, if failed { Exit::Failed } else { requested })
        }
    };
    let ended = request.ended().await;
    assert_eq!(ended.as_ref().ok(), outcome.then_some(&verdict));
    settle().await;
    let runs = outcome && verdict.is_completed();
    assert_eq!(ran.load(Ordering::Relaxed), if runs { life.works } else { 0 });
    if let Some((closed, end)) = waiters {
        closed.await.unwrap();
        assert_eq!(end.await.unwrap().ok(), ended.ok());
    }
    request
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_scope_shows_nothing_of_those_before(lives in vec(lives(), 1..12)) {
        runtime().block_on(async {
            let server = Server::with(Probe::new().settling());
            let mut kept = None;
            for life in &lives {
                let request = live(&server, life).await;
                kept = life.kept.then_some(request);
            }
            drop(kept);
            server.finish().await;
        });
    }
}
