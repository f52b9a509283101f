//! L6, L16: a close cancels acquisitions, and a handle that still arrives is released before a drain ends.

use std::sync::Arc;

use loom::future::block_on;
use loom::thread;

use super::probe::{Acquire, Probe};
use super::{drain, model, model_within};
use crate::{Exit, Scopes};

#[test]
fn handle_that_arrives_after_the_seal_is_released_unseen() {
    for acquire in [|| Acquire::AtOnce, || Acquire::Soon] {
        model(["served", "closed", "closed and late"], move |endings| {
            let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(acquire())));
            let scope = scopes.open();
            let lazy = scope.lazy(&probe);
            let user = thread::spawn(move || match block_on(lazy.get()) {
                Ok(guard) => {
                    guard.touch();
                    true
                }
                Err(error) => {
                    assert!(error.is_closed(), "{error}");
                    false
                }
            });
            block_on(scope.close(Exit::Completed)).unwrap();
            let served = user.join().unwrap();
            drain(&scopes);
            let (exits, late) = (probe.journal.exits("it"), scopes.stats().late);
            assert_eq!(exits.len(), probe.journal.acquired());
            endings.note(match (served, late, exits.as_slice()) {
                (true, 0, [Exit::Completed | Exit::Cancelled]) => "served",
                (false, 0, []) => "closed",
                (false, 1, [Exit::Cancelled]) => "closed and late",
                // The handle was delivered, and the close came before the caller's next poll.
                (false, 0, [Exit::Completed]) => "closed",
                _ => "neither served nor closed",
            });
        });
    }
}

#[test]
fn close_ends_an_acquisition_that_never_finishes() {
    model(["begun", "not begun"], |endings| {
        let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(Acquire::Never)));
        let scope = scopes.open();
        let lazy = scope.lazy(&probe);
        let user = thread::spawn(move || assert!(block_on(lazy.get()).is_err_and(|error| error.is_closed())));
        block_on(scope.close(Exit::Completed)).unwrap();
        user.join().unwrap();
        drain(&scopes);
        endings.note(if probe.attempts() == 0 { "not begun" } else { "begun" });
    });
}

#[test]
fn drain_during_a_close_waits_for_a_handle_on_its_way() {
    for acquire in [|| Acquire::AtOnce, || Acquire::Soon] {
        model_within(2, [], move |_| {
            let (scopes, probe) = (Scopes::new(), Arc::new(Probe::new(acquire())));
            let scope = scopes.open();
            let lazy = scope.lazy(&probe);
            let user = thread::spawn(move || drop(block_on(lazy.get())));
            let owner = thread::spawn(move || drop(scope));
            drain(&scopes);
            let entries = probe.journal.entries();
            user.join().unwrap();
            owner.join().unwrap();
            assert_eq!(entries, probe.journal.entries());
        });
    }
}
