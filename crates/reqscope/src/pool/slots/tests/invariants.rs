use std::collections::BTreeSet;

use super::super::*;

/// The number of slots in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) max: usize,
    pub(super) idle: usize,
    pub(super) lent: usize,
    pub(super) creating: usize,
    pub(super) validating: usize,
    pub(super) ending: usize,
    pub(super) waiting: usize,
    pub(super) paused: bool,
}

impl<T, S, N> Slots<T, S, N> {
    pub(super) fn counts(&self) -> Counts {
        let PoolStatus { max_size: max, in_use, idle, creating, ending, waiting, paused, .. } = self.gauges();
        let validating = self.busy(Work::Validating);
        Counts { max, idle, lent: in_use - validating, creating, validating, ending, waiting, paused }
    }

    /// Asserts the invariants that can be seen from one state.
    pub(super) fn check(&mut self) {
        let of = |wanted: fn(&State<T, N>) -> bool| -> BTreeSet<u32> {
            let numbered = self.entries.iter().enumerate().filter(|(_, entry)| wanted(&entry.state));
            numbered.map(|(number, _)| number as u32).collect()
        };
        let listed = |list: Vec<u32>| -> BTreeSet<u32> {
            let set: BTreeSet<u32> = list.iter().copied().collect();
            assert_eq!(set.len(), list.len(), "a slot is listed twice (1)");
            set
        };
        assert_eq!(listed(self.vacant.clone()), of(|state| matches!(state, State::Vacant)), "the vacant slots (1)");
        let idle = of(|state| matches!(state, State::Idle(_)));
        assert_eq!(listed(self.idle_slots()), idle, "the idle slots (1)");
        for work in [Work::Creating, Work::Validating, Work::Ending, Work::Late] {
            let is_busy =
                |entry: &&Entry<T, S, N>| matches!(entry.state, State::Busy { work: with, .. } if with == work);
            assert_eq!(self.busy(work), self.entries.iter().filter(is_busy).count(), "the count of {work:?} (1)");
        }
        for Entry { state, meta } in &self.entries {
            let holds = matches!(state, State::Idle(_) | State::Lent(_));
            assert!(!holds || meta.is_some(), "a handle without metadata");
            assert!(!matches!(state, State::Vacant) || meta.is_none(), "metadata without a handle");
        }
        let due = self.entries.iter().filter_map(|entry| match entry.state {
            State::Busy { overdue, .. } => Some(overdue),
            _ => None,
        });
        assert!(due.min().is_none_or(|due| self.overdue <= due), "work would be overdue unnoticed");
        assert_eq!(
            self.counts().lent,
            self.lent(0, usize::MAX).map_or(0, Iterator::count),
            "the count of lent handles (1)"
        );
        assert_eq!(self.shrunk, self.occupied() > self.max, "the flag for too many slots (2)");
        self.waiters.check();
        let starves = self.mode == Mode::Open && !self.idle.is_empty() && self.waiters.waiting() > 0;
        assert!(!starves, "a caller waits while a handle is idle (3)");
        assert!(self.mode != Mode::Closed || self.idle.is_empty(), "idle in a closed pool (5)");
    }
}
