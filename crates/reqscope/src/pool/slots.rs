//! The state machine under the pool: the contents of each slot, and the queue of waiters. No async, no clock, no
//! resource.
//!
//! `T` is a handle. `S` is its metadata, which stays in the slot while the handle is lent. `N` identifies its holder.
//!
//! | slot       | `take`, a grant | `put`                   | `end`      | `created`               | `free`     |
//! |------------|-----------------|-------------------------|------------|-------------------------|------------|
//! | `Vacant`   | -               | -                       | -          | -                       | -          |
//! | `Creating` | -               | -                       | -          | → `Idle`, or to a waiter| → `Vacant` |
//! |            |                 |                         |            | or, `unwanted`, `Ending`|            |
//! | `Idle`     | → `Lent`        | -                       | -          | -                       | -          |
//! | `Lent`     | -               | → `Idle`, or to a waiter| → `Ending` | -                       | -          |
//! | `Ending`   | -               | -                       | -          | -                       | → `Vacant` |
//!
//! Invariants:
//!
//! 1. A slot has one owner: this machine while the slot is vacant or idle, otherwise the caller that received its
//!    number, until it calls `put`, `end` and `free`, or `created`.
//! 2. At most `max` slots are occupied, except after a [`resize`](Slots::resize) below the number of occupied ones:
//!    then returned handles are refused until at most `max` are left that are not ending.
//! 3. The queue is empty while a handle is idle, unless the pool is paused.
//! 4. A creation begins only if [`wants`](Slots::wants) says so: no more run than there are waiters and missing idle
//!    handles.
//! 5. After [`close`](Slots::close) no handle becomes idle and none is granted.
//! 6. No user code runs in here. Handles and wakers are returned, for the caller to drop or wake outside of the lock.

mod idle;

use std::mem;
use std::task::Waker;

use super::waiters::{Ticket, Waiters};

pub(super) struct Slots<T, S, N> {
    entries: Vec<Entry<T, S, N>>,
    /// The numbers of the vacant slots.
    vacant: Vec<u32>,
    /// The numbers of the idle slots. The handle that was returned last is at the end, and is lent first.
    idle: Vec<u32>,
    waiters: Waiters<(u32, T), N>,
    max: usize,
    /// Whether more than `max` slots are occupied, which only a [`resize`](Slots::resize) can cause.
    shrunk: bool,
    creating: usize,
    ending: usize,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Open,
    Paused,
    Closed,
}

enum Entry<T, S, N> {
    Vacant,
    Creating,
    Held(Occupant<T, N>, S),
    Ending,
}

enum Occupant<T, N> {
    Idle(T),
    Lent(N),
}

/// What happened to a returned handle.
pub(super) enum Put<T, S> {
    /// It is idle.
    Idle,
    /// It was granted to a waiter, whose waker must be woken.
    Granted(Option<Waker>),
    /// It is not wanted any more. Its slot is `Ending`, and the caller ends the handle.
    Refused(T, S),
}

/// Why a caller may not join the queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum JoinError {
    Closed,
    /// The queue has reached its limit.
    Full,
}

/// The number of slots in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) max: usize,
    pub(super) idle: usize,
    pub(super) lent: usize,
    pub(super) creating: usize,
    pub(super) ending: usize,
    pub(super) waiting: usize,
}

impl<T, S, N: Clone> Slots<T, S, N> {
    pub(super) fn new(max: usize) -> Self {
        Slots {
            entries: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            waiters: Waiters::new(),
            max,
            shrunk: false,
            creating: 0,
            ending: 0,
            mode: Mode::Open,
        }
    }

    fn occupied(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// Returns the number of occupied slots that are not ending.
    fn staying(&self) -> usize {
        self.occupied() - self.ending
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            max: self.max,
            idle: self.idle.len(),
            lent: self.occupied() - self.idle.len() - self.creating - self.ending,
            creating: self.creating,
            ending: self.ending,
            waiting: self.waiters.waiting(),
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Returns how many callers have joined the queue so far.
    pub(super) fn joined(&self) -> u64 {
        self.waiters.joined()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.mode == Mode::Closed
    }

    /// Takes the handle that was used last, if `good` accepts it. Returns `None` if a caller waits.
    #[inline(always)]
    pub(super) fn take(&mut self, holder: N, good: impl FnOnce(&S) -> bool) -> Option<(u32, T)> {
        if self.mode != Mode::Open || !self.waiters.is_idle() {
            return None;
        }
        let slot = *self.idle.last()?;
        match &mut self.entries[slot as usize] {
            Entry::Held(occupant @ Occupant::Idle(_), meta) if good(meta) => {
                self.idle.pop();
                match mem::replace(occupant, Occupant::Lent(holder)) {
                    Occupant::Idle(handle) => Some((slot, handle)),
                    Occupant::Lent(_) => None,
                }
            }
            _ => None,
        }
    }

    #[inline]
    fn lend(&mut self, slot: u32, holder: N) -> Option<T> {
        match &mut self.entries[slot as usize] {
            Entry::Held(occupant, _) => match mem::replace(occupant, Occupant::Lent(holder)) {
                Occupant::Idle(handle) => Some(handle),
                Occupant::Lent(_) => None,
            },
            _ => None,
        }
    }

    /// Returns the metadata of a handle.
    pub(super) fn meta(&mut self, slot: u32) -> Option<&mut S> {
        match &mut self.entries[slot as usize] {
            Entry::Held(_, meta) => Some(meta),
            _ => None,
        }
    }

    /// Puts a handle back. `wanted` sees its metadata, and returns whether the handle may stay.
    pub(super) fn put(&mut self, slot: u32, handle: T, wanted: impl FnOnce(&mut S) -> bool) -> Put<T, S> {
        match self.put_idle(slot, handle, wanted) {
            Ok(()) => Put::Idle,
            Err((handle, wanted)) => self.put_elsewhere(slot, handle, wanted),
        }
    }

    /// Puts a handle back among the idle ones, in the common case. [`put_elsewhere`](Slots::put_elsewhere) does the
    /// rest.
    #[inline]
    pub(super) fn put_idle(
        &mut self,
        slot: u32,
        handle: T,
        wanted: impl FnOnce(&mut S) -> bool,
    ) -> Result<(), (T, bool)> {
        let Entry::Held(occupant, meta) = &mut self.entries[slot as usize] else { return Err((handle, false)) };
        let wanted = wanted(meta);
        if wanted && self.mode == Mode::Open && self.waiters.is_idle() && !self.shrunk {
            *occupant = Occupant::Idle(handle);
            self.idle.push(slot);
            return Ok(());
        }
        Err((handle, wanted))
    }

    /// Grants the handle to a waiter, keeps it idle in a paused pool, or refuses it.
    #[inline(never)]
    pub(super) fn put_elsewhere(&mut self, slot: u32, handle: T, wanted: bool) -> Put<T, S> {
        if !wanted || self.mode == Mode::Closed || self.staying() > self.max {
            return self.refuse(slot, handle);
        }
        if self.mode == Mode::Open && !self.waiters.is_idle() {
            return self.grant(slot, handle);
        }
        if let Entry::Held(occupant, _) = &mut self.entries[slot as usize] {
            *occupant = Occupant::Idle(handle);
            self.idle.push(slot);
        }
        Put::Idle
    }

    fn grant(&mut self, slot: u32, handle: T) -> Put<T, S> {
        match self.waiters.grant((slot, handle)) {
            Ok((holder, waker)) => {
                if let Entry::Held(occupant, _) = &mut self.entries[slot as usize] {
                    *occupant = Occupant::Lent(holder);
                }
                Put::Granted(waker)
            }
            Err((slot, handle)) => self.refuse(slot, handle),
        }
    }

    #[cold]
    fn refuse(&mut self, slot: u32, handle: T) -> Put<T, S> {
        Put::Refused(handle, self.end(slot))
    }

    /// Marks the slot of a lent handle as `Ending`. Its owner ends the handle, and then calls [`free`](Slots::free).
    pub(super) fn end(&mut self, slot: u32) -> S {
        match mem::replace(&mut self.entries[slot as usize], Entry::Ending) {
            Entry::Held(_, meta) => {
                self.ending += 1;
                meta
            }
            _ => unreachable!("a lent handle has metadata"),
        }
    }

    /// Frees the slot of a failed creation, or of a handle that has ended.
    pub(super) fn free(&mut self, slot: u32) {
        match mem::replace(&mut self.entries[slot as usize], Entry::Vacant) {
            Entry::Creating => self.creating -= 1,
            Entry::Ending => self.ending -= 1,
            Entry::Vacant | Entry::Held(..) => unreachable!("only slots of creations and ending handles are freed"),
        }
        self.vacant.push(slot);
        self.shrunk &= self.occupied() > self.max;
    }

    /// Returns whether a creation has a free slot and is needed, and fewer than `limit` creations run. `spare` is the
    /// number of handles that are to be idle besides those for the waiters.
    pub(super) fn wants(&self, limit: usize, spare: usize) -> bool {
        self.mode == Mode::Open
            && self.occupied() < self.max
            && self.creating < limit
            && self.creating < self.waiters.waiting() + spare.saturating_sub(self.idle.len())
    }

    /// Occupies a slot for a creation.
    pub(super) fn begin(&mut self) -> u32 {
        self.creating += 1;
        match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot as usize] = Entry::Creating;
                slot
            }
            None => {
                self.entries.push(Entry::Creating);
                u32::try_from(self.entries.len() - 1).expect("a pool has fewer slots than u32::MAX")
            }
        }
    }

    /// Puts a new handle into the slot of its creation.
    pub(super) fn created(&mut self, slot: u32, handle: T, meta: S, holder: N) -> Put<T, S> {
        self.creating -= 1;
        self.entries[slot as usize] = Entry::Held(Occupant::Lent(holder), meta);
        self.put(slot, handle, |_| true)
    }

    /// Marks the slot of a creation as `Ending`. The caller ends the new handle, which is not wanted any more.
    pub(super) fn unwanted(&mut self, slot: u32) {
        self.creating -= 1;
        self.ending += 1;
        self.entries[slot as usize] = Entry::Ending;
    }

    /// Joins the queue, or, if `again` is set, goes back to its head. To be called in the same step as a
    /// [`take`](Slots::take) that returned nothing (3). `limit` is the maximum number of callers that wait for lent
    /// handles.
    pub(super) fn join(&mut self, holder: N, limit: usize, again: bool) -> Result<Ticket, JoinError> {
        if self.mode == Mode::Closed {
            return Err(JoinError::Closed);
        }
        if again {
            return Ok(self.waiters.rejoin(holder));
        }
        // A caller whose handle is being created, or can be, does not wait for a lent one.
        let made = self.creating + self.max.saturating_sub(self.occupied());
        if self.waiters.waiting() >= limit.saturating_add(made) {
            return Err(JoinError::Full);
        }
        Ok(self.waiters.join(holder, None))
    }

    /// Joins the queue with a waker, if waiting for a lent handle is the only way to get one. Returns `None` if there
    /// is another way, or the queue is full.
    #[inline]
    pub(super) fn queue(&mut self, holder: N, limit: usize, waker: &mut Option<Waker>) -> Option<Ticket> {
        let full = self.mode == Mode::Open && self.idle.is_empty() && self.occupied() >= self.max;
        (full && self.waiters.waiting() < limit).then(|| self.waiters.join(holder, waker.take()))
    }

    pub(super) fn waiters(&mut self) -> &mut Waiters<(u32, T), N> {
        &mut self.waiters
    }

    /// Returns the holder of a lent handle.
    pub(super) fn holder(&mut self, slot: u32) -> Option<&mut N> {
        match &mut self.entries[slot as usize] {
            Entry::Held(Occupant::Lent(holder), _) => Some(holder),
            _ => None,
        }
    }

    /// Changes the size, and takes out surplus idle handles, the longest idle first.
    pub(super) fn resize(&mut self, max: usize) -> Vec<(u32, T, S)> {
        self.max = max;
        self.shrunk = self.occupied() > max;
        self.remove_idle(self.staying().saturating_sub(max), |_| true)
    }

    /// Stops lending and creating until [`resume`](Slots::resume).
    pub(super) fn pause(&mut self) {
        if self.mode == Mode::Open {
            self.mode = Mode::Paused;
        }
    }

    /// Resumes, and grants the idle handles to waiters.
    pub(super) fn resume(&mut self) -> Vec<Waker> {
        if self.mode != Mode::Paused {
            return Vec::new();
        }
        self.mode = Mode::Open;
        let mut wakers = Vec::new();
        while let Some(holder) = self.waiters.head() {
            let Some(slot) = self.idle.pop() else { break };
            let Some(handle) = self.lend(slot, holder) else { continue };
            if let Ok((_, waker)) = self.waiters.grant((slot, handle)) {
                wakers.extend(waker);
            }
        }
        // The remaining waiters may begin creations.
        wakers.extend(self.waiters.wakers());
        wakers
    }

    /// Closes permanently. Returns the idle handles, and the wakers of all waiters, which find the pool closed.
    pub(super) fn close(&mut self) -> (Vec<(u32, T, S)>, Vec<Waker>) {
        self.mode = Mode::Closed;
        (self.remove_idle(usize::MAX, |_| true), self.waiters.wakers())
    }

    /// Returns the holders of all lent handles.
    pub(super) fn lent(&self) -> impl Iterator<Item = &N> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Held(Occupant::Lent(holder), _) => Some(holder),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
