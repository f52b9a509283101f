//! How far a handler has come, so that a cut one can be counted where it was cut.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqscope::Exit;

use crate::server::accounting::Books;

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
    ending: Arc<Ending>,
}

impl Progress {
    /// Of a handler that begins now.
    pub(crate) fn begin(books: Arc<Books>) -> Progress {
        books.requests.add();
        Progress { books, at: AtomicUsize::new(Stage::BeforeFirstPoll as usize), ending: Arc::default() }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.at.store(stage as usize, Ordering::Relaxed);
    }

    /// The handler has come to its end, well or not: it was not cut.
    pub(crate) fn done(self, well: bool) {
        self.at.store(DONE, Ordering::Relaxed);
        if well {
            self.ending.succeed();
        }
    }

    pub(crate) fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// For the handles of the request, which are told later how it ended.
    pub(crate) fn ending(&self) -> &Arc<Ending> {
        &self.ending
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(cut) = self.books.cut.get(*self.at.get_mut()) {
            cut.add();
        }
    }
}

/// Whether a handler has succeeded: one that was cut never does.
#[derive(Default)]
pub(crate) struct Ending(AtomicBool);

impl Ending {
    fn succeed(&self) {
        // Release: with the load of another thread, where a reaper releases the handle.
        self.0.store(true, Ordering::Release);
    }

    /// Is this what a handle of this request should be told?
    pub(crate) fn agrees(&self, exit: Exit) -> bool {
        exit.is_completed() == self.0.load(Ordering::Acquire)
    }
}
