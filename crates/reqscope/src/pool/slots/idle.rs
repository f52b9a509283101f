//! Operations on the idle handles, apart from lending them to users.

use std::mem;

use super::{Claim, Entry, Occupant, Slots, Work};
use crate::pool::clock::Moment;

impl<T, S, N> Slots<T, S, N> {
    /// Returns the metadata of the idle handles.
    pub(in crate::pool) fn idle(&self) -> impl Iterator<Item = &S> {
        self.idle.iter().filter_map(|&slot| match &self.entries[slot as usize] {
            Entry::Held(_, meta) => Some(meta),
            _ => None,
        })
    }

    /// Returns the metadata of the idle and the lent handles.
    pub(in crate::pool) fn metadata(&mut self) -> impl Iterator<Item = &mut S> {
        self.entries.iter_mut().filter_map(|entry| match entry {
            Entry::Held(_, meta) => Some(meta),
            _ => None,
        })
    }

    /// Sorts the idle handles, so that the one with the least key is lent last.
    pub(in crate::pool) fn sort_idle<K: Ord>(&mut self, key: impl Fn(&S) -> K) {
        let entries = &self.entries;
        self.idle.sort_by_key(|&slot| match &entries[slot as usize] {
            Entry::Held(_, meta) => Some(key(meta)),
            _ => None,
        });
    }

    /// Takes at most `most` of the idle handles that `out` selects out of the pool, the longest idle first, to be
    /// released.
    pub(in crate::pool) fn remove_idle(&mut self, most: usize, out: impl FnMut(&S) -> bool) -> Vec<(Claim, T, S)> {
        self.claim_idle(most, Work::Ending, Moment::NEVER, out)
    }

    /// Claims the slots of at most `most` of the idle handles that `which` selects, the longest idle first.
    pub(in crate::pool) fn claim_idle(
        &mut self,
        most: usize,
        work: Work,
        overdue: Moment,
        mut which: impl FnMut(&S) -> bool,
    ) -> Vec<(Claim, T, S)> {
        self.claim_idle_slots(most, work, overdue, |_, meta| which(meta))
    }

    /// Does the same, where `which` sees the number of the slot as well.
    pub(in crate::pool) fn claim_idle_slots(
        &mut self,
        most: usize,
        work: Work,
        overdue: Moment,
        mut which: impl FnMut(u32, &S) -> bool,
    ) -> Vec<(Claim, T, S)> {
        let mut claimed = Vec::new();
        let mut idle = mem::take(&mut self.idle);
        idle.retain(|&slot| {
            let selected = claimed.len() < most
                && matches!(&self.entries[slot as usize], Entry::Held(Occupant::Idle(_), meta) if which(slot, meta));
            if selected {
                let (claim, entry) = self.occupy(slot, work, overdue);
                if let Entry::Held(Occupant::Idle(handle), meta) = entry {
                    claimed.push((claim, handle, meta));
                }
            }
            !selected
        });
        self.idle = idle;
        claimed
    }

    /// Returns the idle slots, the longest idle first.
    pub(in crate::pool) fn idle_slots(&self) -> Vec<u32> {
        self.idle.clone()
    }
}
