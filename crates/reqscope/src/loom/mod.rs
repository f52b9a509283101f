//! Models of the core for the model checker loom, run by `cargo xtask loom`.
//!
//! A model is a program of two or three threads, which loom runs once for each possible order of their locks and
//! atomics. It runs the core itself, from `Scopes` down to the state machines. Only [`crate::rt::sync`] and
//! [`crate::rt::runtime`] are replaced by loom's types, so a task is a thread whose steps are permuted too.
//!
//! Loom reports a lost wake-up as a deadlock. It reports two users of one handle, or a release during a use, as a data
//! race on [`probe::Handle`]. Each model asserts what else must hold, and names the endings that must occur at least
//! once, because a race that no order runs into proves nothing.

mod cell;
mod closing;
mod draining;
mod ending;
mod first_use;
mod late;
mod lending;
mod outside_locks;
mod pool;
mod sharing;
mod probe;
pub(crate) mod runtime;
pub(crate) mod sync;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use loom::future::block_on;
use parking_lot::Mutex;

use crate::Scopes;

/// Faults between few threads show with few preemptions. One more multiplies the number of orders by about ten.
const PREEMPTIONS: usize = 3;

/// The endings that occurred, over all orders. Not under loom's lock, which would add orders of its own.
#[derive(Clone, Default)]
struct Endings(Arc<Mutex<BTreeSet<&'static str>>>);

impl Endings {
    fn note(&self, ending: &'static str) {
        self.0.lock().insert(ending);
    }
}

/// Runs `program` in every order with few preemptions. All `endings` must occur, and no others.
fn model<const N: usize>(endings: [&'static str; N], program: impl Fn(&Endings) + Send + Sync + 'static) {
    model_within(PREEMPTIONS, endings, program);
}

/// Runs `program` with another bound, for one that is too long for [`PREEMPTIONS`].
fn model_within<const N: usize>(
    preemptions: usize,
    endings: [&'static str; N],
    program: impl Fn(&Endings) + Send + Sync + 'static,
) {
    let seen = Endings::default();
    let notes = seen.clone();
    let mut checker = loom::model::Builder::new();
    checker.max_branches = 10_000;
    checker.preemption_bound.get_or_insert(preemptions);
    checker.check(move || program(&notes));
    assert_eq!(*seen.0.lock(), BTreeSet::from(endings));
}

/// Polls the future once with `waker`.
fn poll_once<T>(future: impl Future<Output = T>, waker: &Waker) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Waits until nothing is open, and asserts that the counters balance.
fn drain(scopes: &Scopes) {
    let report = block_on(scopes.drain(Duration::from_secs(1)));
    assert!(report.is_clean(), "{report:?}");
    let stats = scopes.stats();
    assert_eq!(stats.acquired, stats.released + stats.taken, "{stats:?}");
    assert_eq!((stats.abandoned, stats.pending_releases, stats.observer_panics), (0, 0, 0), "{stats:?}");
}
