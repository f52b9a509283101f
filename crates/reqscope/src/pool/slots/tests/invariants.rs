use std::collections::BTreeSet;

use super::super::*;

impl<T, S, N: Copy> Slots<T, S, N> {
    /// The invariants that one look can tell.
    pub(super) fn check(&self) {
        let of = |wanted: fn(&Entry<T, S, N>) -> bool| -> BTreeSet<u32> {
            let numbered = self.entries.iter().enumerate().filter(|(_, entry)| wanted(entry));
            numbered.map(|(number, _)| number as u32).collect()
        };
        let listed = |list: &[u32]| -> BTreeSet<u32> {
            let set: BTreeSet<u32> = list.iter().copied().collect();
            assert_eq!(set.len(), list.len(), "one slot is on a list twice (1)");
            set
        };
        assert_eq!(listed(&self.vacant), of(|entry| matches!(entry, Entry::Vacant)), "the vacant ones (1)");
        let idle = of(|entry| matches!(entry, Entry::Held(Whereabouts::Idle(_), _)));
        assert_eq!(listed(&self.idle), idle, "the idle ones (1)");
        assert_eq!(self.creating, of(|entry| matches!(entry, Entry::Creating)).len(), "the count of creations (1)");
        assert_eq!(self.ending, of(|entry| matches!(entry, Entry::Ending)).len(), "the count of the ending ones (1)");
        assert_eq!(self.counts().lent, self.lent().count(), "the count of those that are out (1)");
        assert_eq!(self.shrunk, self.taken() > self.max, "more than there may be (2)");
        self.waiters.check();
        let starves = self.state == State::Open && !self.idle.is_empty() && self.waiters.waiting() > 0;
        assert!(!starves, "somebody waits beside what is idle (3)");
        assert!(self.state != State::Closed || self.idle.is_empty(), "idle in a closed pool (5)");
    }
}
