//! Follows a handler, so that a cut one is counted in the stage in which it was cut.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::accounting::Counters;
use crate::server::stage::{Ending, STAGES, Stage};

/// The stage of a handler that has ended.
const DONE: usize = STAGES;

/// The progress of one handler. If it is dropped before [`done`](Progress::done), the handler was cut.
pub(crate) struct Progress {
    counters: Arc<Counters>,
    /// Atomic only because two uses of one request share it. One task polls both, but on any thread.
    stage: AtomicUsize,
    ending: Arc<Ending>,
}

impl Progress {
    /// Counts a request, whose handler begins now.
    pub(crate) fn begin(counters: Arc<Counters>) -> Progress {
        counters.requests.add();
        Progress { counters, stage: AtomicUsize::new(Stage::BeforeFirstPoll as usize), ending: Arc::default() }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as usize, Ordering::Relaxed);
    }

    /// Records that the handler has ended, and was not cut.
    pub(crate) fn done(self, succeeded: bool) {
        self.stage.store(DONE, Ordering::Relaxed);
        if succeeded {
            self.ending.succeed();
        }
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Returns the ending, with which the exits of the request's handles are compared.
    pub(crate) fn ending(&self) -> &Arc<Ending> {
        &self.ending
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(cut) = self.counters.cut.get(*self.stage.get_mut()) {
            cut.add();
        }
    }
}

#[cfg(test)]
mod tests {
    use reqscope::Exit;

    use super::Progress;
    use crate::server::accounting::{Accounting, Tracker};

    #[test]
    fn exit_that_does_not_fit_the_ending_is_counted() {
        let accounting = Accounting::new();
        let lent = |progress: &Progress| {
            let mut tracker = Tracker::new(accounting.counters());
            tracker.lent_to(progress.ending());
            tracker
        };
        let (cut, answered) = (Progress::begin(accounting.counters()), Progress::begin(accounting.counters()));
        let (of_cut, of_answered) = (lent(&cut), lent(&answered));
        drop(cut);
        answered.done(true);
        of_cut.exit_passed(Exit::Cancelled);
        of_answered.exit_passed(Exit::Completed);
        assert_eq!(accounting.counters().stats().wrong_exits, 0);
        of_cut.exit_passed(Exit::Completed);
        of_answered.exit_passed(Exit::Cancelled);
        assert_eq!(accounting.counters().stats().wrong_exits, 2);
    }
}
