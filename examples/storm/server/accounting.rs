//! The storm's own books, kept beside those of reqscope: whoever is tried does not count.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Chain;
use parking_lot::Mutex;
use reqscope::Exit;

use crate::server::stage::{Ending, STAGES, Stage};
use crate::server::stats::{Cut, Stats};
use crate::store::busy::is_busy;
use crate::store::nonce::is_shifted;

/// The books that are open; a reset begins new ones.
pub(crate) struct Ledger {
    open: Mutex<Arc<Books>>,
}

/// All counters since a reset. What began before it is counted in the books that were open then.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) requests: Count,
    pub(crate) crossed: Count,
    pub(crate) committed: Count,
    busy: Count,
    shifted: Count,
    acquired: Count,
    released: Count,
    abandoned: Count,
    double_released: Count,
    used_after_release: Count,
    misled: Count,
    /// By stage: how many handlers were cut there.
    pub(crate) cut: [Count; STAGES],
    out: Mutex<HashMap<u64, State>>,
    /// How many were out at once, at most.
    most: AtomicU64,
}

/// Every handle that is out is in one of these states.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Releasing,
}

/// The mark that one handle wears from its acquisition to its end.
pub(crate) struct Badge {
    number: u64,
    books: Arc<Books>,
    /// How the request ends that has the handle; nobody knows that of a task that outlives its request.
    ending: Option<Arc<Ending>>,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger { open: Mutex::default() }
    }

    pub(crate) fn books(&self) -> Arc<Books> {
        Arc::clone(&self.open.lock())
    }

    pub(crate) fn reset(&self) {
        *self.open.lock() = Arc::default();
    }
}

impl Books {
    /// An error has arisen; of its chain only the busy ones and the wrong answers count.
    pub(crate) fn heard(&self, chain: Chain<'_>) {
        if is_busy(chain.clone()) {
            self.busy.add();
        }
        if is_shifted(chain) {
            self.shifted.add();
        }
    }

    /// How many handles were out at once, at most.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }

    /// The counters of these books; the rest is for those to fill in who know it.
    pub(crate) fn stats(&self) -> Stats {
        let cut = |stage: Stage| self.cut[stage as usize].get();
        Stats {
            requests: self.requests.get(),
            acquired: self.acquired.get(),
            released: self.released.get(),
            abandoned: self.abandoned.get(),
            live: self.out.lock().len() as u64,
            double_released: self.double_released.get(),
            used_after_release: self.used_after_release.get(),
            misled: self.misled.get(),
            crossed: self.crossed.get(),
            shifted: self.shifted.get(),
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

impl Badge {
    /// For a handle that has just been acquired.
    pub(crate) fn issue(books: Arc<Books>) -> Badge {
        let number = books.acquired.add();
        let mut out = books.out.lock();
        out.insert(number, State::Held);
        books.most.fetch_max(out.len() as u64, Ordering::Relaxed);
        drop(out);
        Badge { number, books, ending: None }
    }

    /// The handle is about to be used.
    pub(crate) fn used(&self) {
        if self.books.out.lock().get(&self.number) != Some(&State::Held) {
            self.books.used_after_release.add();
        }
    }

    /// The handle is lent to this request.
    pub(crate) fn lent_to(&mut self, ending: &Arc<Ending>) {
        self.ending = Some(Arc::clone(ending));
    }

    /// The handle is told how its use ended.
    pub(crate) fn told(&self, exit: Exit) {
        if self.ending.as_ref().is_some_and(|ending| !ending.agrees(exit)) {
            self.books.misled.add();
        }
    }

    /// A release of the handle begins.
    pub(crate) fn releasing(&self) {
        let before = self.books.out.lock().insert(self.number, State::Releasing);
        if before != Some(State::Held) {
            self.books.double_released.add();
        }
    }

    /// The release has ended, however it went.
    pub(crate) fn released(self) {
        if self.books.out.lock().remove(&self.number).is_some() {
            self.books.released.add();
        }
    }

    pub(crate) fn books(&self) -> &Arc<Books> {
        &self.books
    }

    /// What a handler does that gives back by hand what is not its own.
    pub(crate) fn release_by_hand(&self) {
        self.releasing();
    }
}

impl Drop for Badge {
    fn drop(&mut self) {
        // After `released` it is no longer there.
        if self.books.out.lock().remove(&self.number).is_some() {
            self.books.abandoned.add();
        }
    }
}

/// A counter that threads share. Relaxed: it is read when they are at rest, and orders nothing.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Counts one more; answers how many there were before.
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

    use reqscope::Exit;

    use super::{Badge, Ledger};
    use crate::server::stage::Progress;

    #[test]
    fn a_handle_that_is_released_is_out_no_more() {
        let ledger = Ledger::new();
        let badge = Badge::issue(ledger.books());
        badge.used();
        assert_eq!(ledger.books().stats().live, 1);
        badge.releasing();
        badge.released();
        let stats = ledger.books().stats();
        assert_eq!((stats.acquired, stats.released, stats.abandoned, stats.live), (1, 1, 0, 0));
        assert_eq!((stats.double_released, stats.used_after_release), (0, 0));
    }

    #[test]
    fn a_handle_that_is_dropped_is_abandoned_even_in_its_release() {
        let ledger = Ledger::new();
        drop(Badge::issue(ledger.books()));
        let badge = Badge::issue(ledger.books());
        badge.releasing();
        drop(badge);
        let stats = ledger.books().stats();
        assert_eq!((stats.acquired, stats.released, stats.abandoned, stats.live), (2, 0, 2, 0));
    }

    #[test]
    fn a_second_release_and_a_late_use_are_seen() {
        let ledger = Ledger::new();
        let badge = Badge::issue(ledger.books());
        badge.release_by_hand();
        badge.used();
        badge.releasing();
        let stats = ledger.books().stats();
        assert_eq!((stats.double_released, stats.used_after_release), (1, 1));
    }

    #[test]
    fn an_exit_that_does_not_fit_the_end_of_the_request_is_seen() {
        let ledger = Ledger::new();
        let lent = |progress: &Progress| {
            let mut badge = Badge::issue(ledger.books());
            badge.lent_to(progress.ending());
            badge
        };
        let (cut, answered) = (Progress::begin(ledger.books()), Progress::begin(ledger.books()));
        let (of_cut, of_answered) = (lent(&cut), lent(&answered));
        drop(cut);
        answered.done(true);
        of_cut.told(Exit::Cancelled);
        of_answered.told(Exit::Completed);
        assert_eq!(ledger.books().stats().misled, 0);
        of_cut.told(Exit::Completed);
        of_answered.told(Exit::Cancelled);
        assert_eq!(ledger.books().stats().misled, 2);
    }

    #[test]
    fn a_reset_leaves_what_is_out_in_the_old_books() {
        let ledger = Ledger::new();
        let old = ledger.books();
        let badge = Badge::issue(Arc::clone(&old));
        ledger.reset();
        assert_eq!(ledger.books().stats().live, 0);
        assert_eq!(old.stats().live, 1);
        badge.releasing();
        badge.released();
        assert_eq!(ledger.books().stats().released, 0);
    }
}
