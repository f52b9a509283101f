//! The counters of one shard: what has begun, and what has ended.
//!
//! 1. A counter only grows, so what is open is a difference, and needs no counter of its own.
//! 2. What begins in a shard ends in it, whichever threads count the two.
//! 3. A drain reads the ends of all shards first, and the beginnings after them. It sees the beginning of each end that
//!    it has seen, and of all that began before it. If both are equal, each of these has ended.
//! 4. While a drain waits, a bit in each counter of ends is set. A drain sets it and reads the counter in one operation,
//!    so an end is either in what the drain has read, or sees the bit. An end that finds no drain clears the bit.

use crate::rt::sync::{AtomicU64, Ordering};

/// The counters of one shard.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) scopes: Pair<1>,
    pub(super) acquisitions: Pair<1>,
    /// Handles end in three ways: released, abandoned and taken.
    pub(super) handles: Pair<3>,
    /// The releases that are running, which are handles too.
    pub(super) releasing: Count,
    /// The tasks of the reaper, which a drain finds among the acquisitions.
    pub(super) tasks: Count,
    pub(super) acquire_failed: Count,
    pub(super) release_failed: Count,
    pub(super) late: Count,
    pub(super) lent_too_long: Count,
    pub(super) still_lent: Count,
    pub(super) tasks_failed: Count,
    pub(super) observer_panics: Count,
}

/// A counter of events. Not the atomic of `rt::sync`: nothing depends on its order with others, so the model checker need
/// not try them all.
#[derive(Default)]
pub(super) struct Count(std::sync::atomic::AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many things of one kind have begun, and how many have ended in each of `ENDS` ways.
pub(super) struct Pair<const ENDS: usize> {
    begun: AtomicU64,
    ended: [AtomicU64; ENDS],
}

impl<const ENDS: usize> Default for Pair<ENDS> {
    fn default() -> Self {
        Pair { begun: AtomicU64::default(), ended: [(); ENDS].map(|()| AtomicU64::default()) }
    }
}

/// Set in a counter of ends while a drain waits.
const WATCHED: u64 = 1 << 63;

impl<const ENDS: usize> Pair<ENDS> {
    /// Counts a beginning. Returns `false` if another thread counted one at the same time.
    #[inline]
    pub(super) fn begin(&self) -> bool {
        // Relaxed: what orders a beginning before its end, or before a drain, orders this too.
        let count = self.begun.load(Ordering::Relaxed);
        if self.begun.compare_exchange(count, count + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return true;
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Counts an end of this kind. Returns whether a drain waits.
    #[inline]
    pub(super) fn end(&self, way: usize) -> bool {
        // Release, for the Acquire in `ended` and `watch`: with the end, a drain sees all that was counted before it.
        self.ended[way].fetch_add(1, Ordering::Release) & WATCHED != 0
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn ended(&self) -> [u64; ENDS] {
        self.ended.each_ref().map(|counter| counter.load(Ordering::Acquire) & !WATCHED)
    }

    /// Returns how many have ended, and lets later ends know that a drain waits.
    fn watch(&self) -> u64 {
        self.ended.iter().map(|counter| counter.fetch_or(WATCHED, Ordering::Acquire) & !WATCHED).sum()
    }

    fn unwatch(&self) {
        for counter in &self.ended {
            counter.fetch_and(!WATCHED, Ordering::Relaxed);
        }
    }
}

impl Counters {
    /// Returns how many things of all kinds have begun.
    pub(super) fn begun(&self) -> u64 {
        self.scopes.begun() + self.acquisitions.begun() + self.handles.begun()
    }

    /// Returns how many things of all kinds have ended.
    pub(super) fn ended(&self) -> u64 {
        let sum = |ends: &[u64]| ends.iter().sum::<u64>();
        sum(&self.scopes.ended()) + sum(&self.acquisitions.ended()) + sum(&self.handles.ended())
    }

    /// Returns the same as `ended`, and lets later ends know that a drain waits.
    pub(super) fn watch(&self) -> u64 {
        self.scopes.watch() + self.acquisitions.watch() + self.handles.watch()
    }

    pub(super) fn unwatch(&self) {
        self.scopes.unwatch();
        self.acquisitions.unwatch();
        self.handles.unwatch();
    }
}
