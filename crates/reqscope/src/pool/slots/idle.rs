//! Operations on the idle handles, apart from lending them to users.

use std::mem;

use super::{Entry, Occupant, Slots};

impl<T, S, N: Clone> Slots<T, S, N> {
    /// Returns the metadata of the idle handles.
    pub(in crate::pool) fn idle(&self) -> impl Iterator<Item = &S> {
        self.idle.iter().filter_map(|&slot| match &self.entries[slot as usize] {
            Entry::Held(_, meta) => Some(meta),
            _ => None,
        })
    }

    /// Returns the metadata of the idle and the lent handles.
    pub(in crate::pool) fn metadata(&self) -> impl Iterator<Item = &S> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Held(_, meta) => Some(meta),
            _ => None,
        })
    }

    /// Returns the idle slots, the longest idle first.
    pub(in crate::pool) fn idle_slots(&self) -> Vec<u32> {
        self.idle.clone()
    }

    /// Sorts the idle handles, so that the one with the least key is lent last.
    pub(in crate::pool) fn sort_idle<K: Ord>(&mut self, key: impl Fn(&S) -> K) {
        let entries = &self.entries;
        self.idle.sort_by_key(|&slot| match &entries[slot as usize] {
            Entry::Held(_, meta) => Some(key(meta)),
            _ => None,
        });
    }

    /// Takes at most `most` of the idle handles that `out` selects out of the pool, the longest idle first.
    pub(in crate::pool) fn remove_idle(&mut self, most: usize, mut out: impl FnMut(&S) -> bool) -> Vec<(u32, T, S)> {
        let mut removed = Vec::new();
        let mut idle = mem::take(&mut self.idle);
        idle.retain(|&slot| {
            let entry = &mut self.entries[slot as usize];
            let goes = removed.len() < most && matches!(entry, Entry::Held(_, meta) if out(meta));
            if goes {
                if let Entry::Held(Occupant::Idle(handle), meta) = mem::replace(entry, Entry::Ending) {
                    removed.push((slot, handle, meta));
                }
            }
            !goes
        });
        self.idle = idle;
        self.ending += removed.len();
        removed
    }

    /// Takes all idle handles out of the pool. `mark` sees the metadata of each lent handle, to have it refused on its
    /// return.
    pub(in crate::pool) fn clear(&mut self, mut mark: impl FnMut(&mut S)) -> Vec<(u32, T, S)> {
        let all = self.remove_idle(usize::MAX, |_| true);
        for entry in &mut self.entries {
            if let Entry::Held(_, meta) = entry {
                mark(meta);
            }
        }
        all
    }

    /// Lends at most `most` of the idle handles that `which` selects to the pool itself, the longest idle first.
    pub(in crate::pool) fn take_idle(
        &mut self,
        most: usize,
        holder: N,
        mut which: impl FnMut(&S) -> bool,
    ) -> Vec<(u32, T)> {
        let mut taken = Vec::new();
        let mut idle = mem::take(&mut self.idle);
        idle.retain(|&slot| {
            let wanted = taken.len() < most && self.meta(slot).is_some_and(|meta| which(meta));
            let handle = if wanted { self.lend(slot, holder.clone()) } else { None };
            let stays = handle.is_none();
            taken.extend(handle.map(|handle| (slot, handle)));
            stays
        });
        self.idle = idle;
        taken
    }

    /// Lends the handle in this slot to the pool itself, if it is idle.
    pub(in crate::pool) fn take_slot(&mut self, slot: u32, holder: N) -> Option<T> {
        let place = self.idle.iter().position(|idle| *idle == slot)?;
        self.idle.remove(place);
        self.lend(slot, holder)
    }
}
