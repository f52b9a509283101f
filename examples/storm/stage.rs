//! How far a handler has come, so that a cut one can be counted where it was cut.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ledger::Books;

/// Where a handler is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was made, and nobody has polled it.
    BeforeFirstPoll,
    /// It runs, and has not asked for a handle.
    BeforeFirstUse,
    /// It waits for its handle.
    Acquiring,
    /// It has its handle.
    Holding,
    /// It has begun a transaction.
    Transaction,
    /// It has returned, and its body is being sent.
    Body,
}

/// How many stages there are.
pub(crate) const STAGES: usize = 6;

/// Stands in a [`Progress`] where its handler has come to its end.
const DONE: usize = STAGES;

/// Goes along with a handler, and counts it as cut if it is dropped before it is told that all is done.
pub(crate) struct Progress {
    books: Arc<Books>,
    /// Atomic only so that the two uses of one request may share it: one task polls them, but on any thread.
    at: AtomicUsize,
}

impl Progress {
    /// Of a handler that begins now.
    pub(crate) fn begin(books: Arc<Books>) -> Progress {
        books.requests.add();
        Progress { books, at: AtomicUsize::new(Stage::BeforeFirstPoll as usize) }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.at.store(stage as usize, Ordering::Relaxed);
    }

    /// The handler has come to its end, well or not: it was not cut.
    pub(crate) fn done(self) {
        self.at.store(DONE, Ordering::Relaxed);
    }

    pub(crate) fn books(&self) -> &Arc<Books> {
        &self.books
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(cut) = self.books.cut.get(*self.at.get_mut()) {
            cut.add();
        }
    }
}
