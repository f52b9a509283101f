//! A scope reuses the allocation of an earlier one, and nothing else of it.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use reqscope::{Exit, Observer, Scope, Scopes};
use reqscope_testkit::Probe;

use crate::support::{get_now, runtime};

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
