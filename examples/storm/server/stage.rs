//! The stages of a handler, and how it ended.
use std::sync::atomic::{AtomicBool, Ordering};

use reqscope::Exit;

/// How far a handler has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was created, and has not been polled.
    BeforeFirstPoll,
    /// It runs, and has not asked for a handle yet.
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

/// Whether a handler has succeeded. One that was cut never does.
#[derive(Default)]
pub(crate) struct Ending(AtomicBool);

impl Ending {
    /// Records that the handler has succeeded.
    pub(crate) fn succeed(&self) {
        // Release: pairs with the Acquire in `agrees`, on the thread where a reaper releases the handle.
        self.0.store(true, Ordering::Release);
    }

    /// Returns whether this exit should be passed to the release of a handle of the request.
    pub(crate) fn agrees(&self, exit: Exit) -> bool {
        exit.is_completed() == self.0.load(Ordering::Acquire)
    }
}
