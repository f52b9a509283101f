//! The storm's own counters. They do not rely on those of reqscope, which is what the storm tests.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Chain;
use parking_lot::Mutex;
use reqscope::Exit;
use reqscope::pool::PoolStatus;

use crate::server::stage::{Ending, STAGES, Stage};
use crate::server::stats::{Cut, Pool, Stats};
use crate::store::busy::is_busy;
use crate::store::nonce::is_wrong_answer;

/// The current counters. A reset replaces them by new ones.
pub(crate) struct Accounting {
    current: Mutex<Arc<Counters>>,
}

/// All counters since a reset. A request or handle that began before it stays with the counters of that time.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: Count,
    pub(crate) crossed: Count,
    pub(crate) committed: Count,
    busy: Count,
    wrong_answers: Count,
    acquired: Count,
    released: Count,
    abandoned: Count,
    double_released: Count,
    used_after_release: Count,
    wrong_exits: Count,
    /// How many handlers were cut, by stage.
    pub(crate) cut: [Count; STAGES],
    /// The handles that have been acquired and have not ended.
    live: Mutex<HashMap<u64, State>>,
    /// The most handles that were live at once.
    peak: AtomicU64,
}

/// The state of a live handle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Releasing,
}

/// Tracks one handle from its acquisition to its end.
pub(crate) struct Tracker {
    number: u64,
    counters: Arc<Counters>,
    /// The ending of the request that the handle is lent to, unless the task that uses it may outlive its request.
    ending: Option<Arc<Ending>>,
}

impl Accounting {
    pub(crate) fn new() -> Accounting {
        Accounting { current: Mutex::default() }
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.current.lock())
    }

    pub(crate) fn reset(&self) {
        *self.current.lock() = Arc::default();
    }
}

impl Counters {
    /// Counts an error if it, or one of its sources, is a busy database or a wrong answer.
    pub(crate) fn record(&self, chain: Chain<'_>) {
        if is_busy(chain.clone()) {
            self.busy.add();
        }
        if is_wrong_answer(chain) {
            self.wrong_answers.add();
        }
    }

    /// Returns the counters of a pool, whose connections have these.
    pub(crate) fn pool(&self, status: &PoolStatus) -> Pool {
        Pool {
            size: status.max_size as u64,
            in_use: status.in_use as u64,
            idle: status.idle as u64,
            opening_or_closing: (status.creating + status.ending) as u64,
            waiting: status.waiting as u64,
            opened: self.acquired.get(),
            closed: self.released.get(),
            peak: self.peak.load(Ordering::Relaxed),
        }
    }

    /// Returns these counters. The other fields are left at their defaults.
    pub(crate) fn stats(&self) -> Stats {
        let cut = |stage: Stage| self.cut[stage as usize].get();
        Stats {
            requests: self.requests.get(),
            acquired: self.acquired.get(),
            released: self.released.get(),
            abandoned: self.abandoned.get(),
            live: self.live.lock().len() as u64,
            double_released: self.double_released.get(),
            used_after_release: self.used_after_release.get(),
            wrong_exits: self.wrong_exits.get(),
            crossed: self.crossed.get(),
            wrong_answers: self.wrong_answers.get(),
            committed: self.committed.get(),
            busy: self.busy.get(),
            cut: Cut {
                before_first_poll: cut(Stage::BeforeFirstPoll),
                before_first_use: cut(Stage::BeforeFirstUse),
                acquiring: cut(Stage::Acquiring),
                holding: cut(Stage::Holding),
                transaction: cut(Stage::Transaction),
                body: cut(Stage::Body),
            },
            ..Stats::default()
        }
    }
}

impl Tracker {
    /// Creates the tracker of a handle that has just been acquired.
    pub(crate) fn new(counters: Arc<Counters>) -> Tracker {
        let number = counters.acquired.add();
        let mut live = counters.live.lock();
        live.insert(number, State::Held);
        counters.peak.fetch_max(live.len() as u64, Ordering::Relaxed);
        drop(live);
        Tracker { number, counters, ending: None }
    }

    /// Records that the handle is about to be used.
    pub(crate) fn used(&self) {
        if self.counters.live.lock().get(&self.number) != Some(&State::Held) {
            self.counters.used_after_release.add();
        }
    }

    /// Records that the handle is lent to the request with this ending.
    pub(crate) fn lent_to(&mut self, ending: &Arc<Ending>) {
        self.ending = Some(Arc::clone(ending));
    }

    /// Records the exit that is passed to the release.
    pub(crate) fn exit_passed(&self, exit: Exit) {
        if self.ending.as_ref().is_some_and(|ending| !ending.agrees(exit)) {
            self.counters.wrong_exits.add();
        }
    }

    /// Records that a release of the handle begins.
    pub(crate) fn releasing(&self) {
        let before = self.counters.live.lock().insert(self.number, State::Releasing);
        if before != Some(State::Held) {
            self.counters.double_released.add();
        }
    }

    /// Records that the release has ended, whether or not it succeeded.
    pub(crate) fn released(self) {
        if self.counters.live.lock().remove(&self.number).is_some() {
            self.counters.released.add();
        }
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Releases the handle under its owner, as a faulty handler does.
    pub(crate) fn release_by_hand(&self) {
        self.releasing();
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        // After `released` the handle is not live any more.
        if self.counters.live.lock().remove(&self.number).is_some() {
            self.counters.abandoned.add();
        }
    }
}

/// A counter that threads share. Relaxed: it is read when the threads are at rest, and orders nothing.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Counts one more, and returns how many there were before.
    pub(crate) fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Accounting, Tracker};

    #[test]
    fn released_handle_is_not_live() {
        let accounting = Accounting::new();
        let tracker = Tracker::new(accounting.counters());
        tracker.used();
        assert_eq!(accounting.counters().stats().live, 1);
        tracker.releasing();
        tracker.released();
        let stats = accounting.counters().stats();
        assert_eq!((stats.acquired, stats.released, stats.abandoned, stats.live), (1, 1, 0, 0));
        assert_eq!((stats.double_released, stats.used_after_release), (0, 0));
    }

    #[test]
    fn handle_dropped_in_its_release_is_abandoned() {
        let accounting = Accounting::new();
        drop(Tracker::new(accounting.counters()));
        let tracker = Tracker::new(accounting.counters());
        tracker.releasing();
        drop(tracker);
        let stats = accounting.counters().stats();
        assert_eq!((stats.acquired, stats.released, stats.abandoned, stats.live), (2, 0, 2, 0));
    }

    #[test]
    fn second_release_and_late_use_are_counted() {
        let accounting = Accounting::new();
        let tracker = Tracker::new(accounting.counters());
        tracker.release_by_hand();
        tracker.used();
        tracker.releasing();
        let stats = accounting.counters().stats();
        assert_eq!((stats.double_released, stats.used_after_release), (1, 1));
    }

    #[test]
    fn handle_stays_with_its_counters_after_a_reset() {
        let accounting = Accounting::new();
        let old = accounting.counters();
        let tracker = Tracker::new(Arc::clone(&old));
        accounting.reset();
        assert_eq!(accounting.counters().stats().live, 0);
        assert_eq!(old.stats().live, 1);
        tracker.releasing();
        tracker.released();
        assert_eq!(accounting.counters().stats().released, 0);
    }
}
