use std::collections::BTreeSet;

use super::super::*;

impl<T, S, N> Slots<T, S, N> {
    /// Asserts the invariants that can be seen from one state.
    pub(super) fn check(&self) {
        let of = |wanted: fn(&Entry<T, S, N>) -> bool| -> BTreeSet<u32> {
            let numbered = self.entries.iter().enumerate().filter(|(_, entry)| wanted(entry));
            numbered.map(|(number, _)| number as u32).collect()
        };
        let listed = |list: Vec<u32>| -> BTreeSet<u32> {
            let set: BTreeSet<u32> = list.iter().copied().collect();
            assert_eq!(set.len(), list.len(), "a slot is listed twice (1)");
            set
        };
        assert_eq!(listed(self.vacant.clone()), of(|entry| matches!(entry, Entry::Vacant)), "the vacant slots (1)");
        let idle = of(|entry| matches!(entry, Entry::Held(Occupant::Idle(_), _)));
        assert_eq!(listed(self.idle_slots()), idle, "the idle slots (1)");
        for work in [Work::Creating, Work::Validating, Work::Ending] {
            let busy = |entry: &&Entry<T, S, N>| matches!(entry, Entry::Busy { work: with, .. } if *with == work);
            assert_eq!(self.busy(work), self.entries.iter().filter(busy).count(), "the count of {work:?} (1)");
        }
        let due = self.entries.iter().filter_map(|entry| match entry {
            Entry::Busy { overdue, .. } => Some(*overdue),
            _ => None,
        });
        assert!(due.min().is_none_or(|due| self.overdue <= due), "work would be overdue unnoticed");
        assert_eq!(self.counts().lent, self.lent_in(0..self.len()).count(), "the count of lent handles (1)");
        assert_eq!(self.shrunk, self.occupied() > self.max, "the flag for too many slots (2)");
        self.waiters.check();
        let starves = self.mode == Mode::Open && !self.idle.is_empty() && self.waiters.waiting() > 0;
        assert!(!starves, "a caller waits while a handle is idle (3)");
        assert!(self.mode != Mode::Closed || self.idle.is_empty(), "idle in a closed pool (5)");
    }
}
