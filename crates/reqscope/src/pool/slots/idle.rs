//! What is done with those that are idle, apart from lending them to users.

use std::mem;

use super::{Entry, Slots, Whereabouts};

impl<T, S, N: Copy> Slots<T, S, N> {
    /// The stubs of those that are idle.
    pub(in crate::pool) fn idle(&self) -> impl Iterator<Item = &S> {
        self.idle.iter().filter_map(|&slot| match &self.entries[slot as usize] {
            Entry::Held(_, stub) => Some(stub),
            _ => None,
        })
    }

    /// The stubs of those that are idle, and of those that are out.
    pub(in crate::pool) fn stubs(&self) -> impl Iterator<Item = &S> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Held(_, stub) => Some(stub),
            _ => None,
        })
    }

    /// Those that are idle, the longest idle first.
    pub(in crate::pool) fn idle_slots(&self) -> Vec<u32> {
        self.idle.clone()
    }

    /// Puts those that are idle in order: the one with the least key goes out last.
    pub(in crate::pool) fn sort_idle<K: Ord>(&mut self, key: impl Fn(&S) -> K) {
        let entries = &self.entries;
        self.idle.sort_by_key(|&slot| match &entries[slot as usize] {
            Entry::Held(_, stub) => Some(key(stub)),
            _ => None,
        });
    }

    /// Takes what is idle and does not please out of the pool, those that were idle longest first, `most` of them.
    pub(in crate::pool) fn weed(&mut self, most: usize, mut out: impl FnMut(&S) -> bool) -> Vec<(u32, T, S)> {
        let mut weeded = Vec::new();
        let mut idle = mem::take(&mut self.idle);
        idle.retain(|&slot| {
            let entry = &mut self.entries[slot as usize];
            let goes = weeded.len() < most && matches!(entry, Entry::Held(_, stub) if out(stub));
            if goes {
                if let Entry::Held(Whereabouts::Idle(object), stub) = mem::replace(entry, Entry::Ending) {
                    weeded.push((slot, object, stub));
                }
            }
            !goes
        });
        self.idle = idle;
        self.ending += weeded.len();
        weeded
    }

    /// Takes all that is idle out of the pool. `mark` sees the stub of each object that is out, so that it is not wanted
    /// when it comes back.
    pub(in crate::pool) fn clear(&mut self, mut mark: impl FnMut(&mut S)) -> Vec<(u32, T, S)> {
        let all = self.weed(usize::MAX, |_| true);
        for entry in &mut self.entries {
            if let Entry::Held(_, stub) = entry {
                mark(stub);
            }
        }
        all
    }

    /// Lends such of those that are idle to the pool itself, those that were idle longest first, `most` of them.
    pub(in crate::pool) fn take_some(
        &mut self,
        most: usize,
        note: N,
        mut which: impl FnMut(&S) -> bool,
    ) -> Vec<(u32, T)> {
        let mut taken = Vec::new();
        let mut idle = mem::take(&mut self.idle);
        idle.retain(|&slot| {
            let wanted = taken.len() < most && self.stub(slot).is_some_and(|stub| which(stub));
            let object = if wanted { self.lend(slot, note) } else { None };
            let stays = object.is_none();
            taken.extend(object.map(|object| (slot, object)));
            stays
        });
        self.idle = idle;
        taken
    }

    /// Lends this one to the pool itself, if it is idle.
    pub(in crate::pool) fn take_this(&mut self, slot: u32, note: N) -> Option<T> {
        let place = self.idle.iter().position(|idle| *idle == slot)?;
        self.idle.remove(place);
        self.lend(slot, note)
    }
}
