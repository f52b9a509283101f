//! Models of the core for loom, the model checker: `cargo xtask loom`.
//!
//! A model is a program of two or three threads, run once for each order in which their locks and atomics can follow
//! each other. What runs is the core itself, from `Scopes` down to the machines; only what stands behind the doors
//! [`crate::rt::sync`] and [`crate::rt::runtime`] is the checker's, so a task is a thread whose every step is tried out too.
//!
//! A wake-up that is lost is a deadlock, which the checker reports. Two users of one handle, or a release beside a
//! use, are a data race on [`probe::Handle`], which it reports as well. What else must hold each model asserts, and it
//! names the endings that must come up at least once: a race that nobody runs proves nothing.

mod cell;
mod closing;
mod draining;
mod first_use;
mod late;
mod lending;
mod outside_locks;
mod pool;
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

/// Faults between few threads show with few preemptions; each more multiplies the orders by about ten.
const PREEMPTIONS: usize = 3;

/// The endings that came up, over all orders. Not the checker's lock: it adds no order of its own.
#[derive(Clone, Default)]
struct Endings(Arc<Mutex<BTreeSet<&'static str>>>);

impl Endings {
    fn note(&self, ending: &'static str) {
        self.0.lock().insert(ending);
    }
}

/// Runs `program` in every order with few preemptions. All `endings` have to come up, and no others.
fn model<const N: usize>(endings: [&'static str; N], program: impl Fn(&Endings) + Send + Sync + 'static) {
    model_within(PREEMPTIONS, endings, program);
}

/// The same for a program that is too long for as many preemptions.
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

/// One poll on behalf of `waker`.
fn poll_once<T>(future: impl Future<Output = T>, waker: &Waker) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Waits until nothing is open, and looks at the books.
fn drain(scopes: &Scopes) {
    let report = block_on(scopes.drain(Duration::from_secs(1)));
    assert!(report.is_clean(), "{report:?}");
    let stats = scopes.stats();
    assert_eq!(stats.acquired, stats.released + stats.taken, "{stats:?}");
    assert_eq!((stats.abandoned, stats.pending_releases, stats.observer_panics), (0, 0, 0), "{stats:?}");
}
