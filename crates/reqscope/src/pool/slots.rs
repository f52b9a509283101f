//! The state machine under the pool: the contents of each slot, and the queue of waiters. No async, no resource.
//!
//! `T` is a handle. `S` is its metadata, which stays in the slot while the handle is lent. `N` identifies its holder.
//!
//! | slot     | `take`, a grant | `put`, `put_back`        | `claim`  | `free`, `give_up` |
//! |----------|-----------------|--------------------------|----------|-------------------|
//! | `Vacant` | -               | -                        | -        | -                 |
//! | `Idle`   | → `Lent`        | -                        | -        | -                 |
//! | `Lent`   | -               | → `Idle`, or to a waiter,| → `Busy` | -                 |
//! |          |                 | or, refused, `Busy`      |          |                   |
//! | `Busy`   | -               | → `Idle`, or to a waiter | -        | → `Vacant`        |
//!
//! A busy slot is occupied by work of the pool: a creation, a validation or a release. The work has a [`Claim`] of the
//! slot and a time by which it must have ended. After it, [`give_up`](Slots::give_up) frees the slot, and the claim is
//! void.
//!
//! Invariants:
//!
//! 1. A slot has one owner: this machine while the slot is vacant or idle; the caller that received its number while it
//!    is lent; the one valid claim while it is busy.
//! 2. At most `max` slots are occupied, except after a [`resize`](Slots::resize) below the number of occupied ones:
//!    then returned handles are refused until at most `max` are left that are not ending.
//! 3. No caller waits while a handle is idle, unless the pool is paused.
//! 4. A creation begins only if [`wants`](Slots::wants) says so: no more run than there are waiters and missing idle
//!    handles.
//! 5. After [`close`](Slots::close) no handle becomes idle and none is granted.
//! 6. No user code runs in here. Handles and wakers are returned, for the caller to drop or wake outside of the lock.

mod idle;

use std::mem;
use std::task::Waker;
use std::time::Duration;

use super::clock::Moment;
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
    /// The numbers of slots with each kind of work.
    busy: [usize; 3],
    /// No busy slot is overdue before.
    overdue: Moment,
    /// The next claim.
    claims: u32,
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
    Busy { work: Work, claim: u32, overdue: Moment, noticed: bool },
    Held(Occupant<T, N>, S),
}

enum Occupant<T, N> {
    Idle(T),
    Lent(N),
}

/// Work of the pool that occupies a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    Creating,
    Validating,
    Ending,
}

/// The right to a busy slot. It is void once the slot was given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Claim {
    slot: u32,
    number: u32,
}

impl Claim {
    pub(super) fn slot(self) -> u32 {
        self.slot
    }
}

/// What happened to a returned handle.
pub(super) enum Put<T, S> {
    /// It is idle.
    Idle,
    /// It was granted to a waiter, whose waker must be woken.
    Granted(Option<Waker>),
    /// It is not wanted any more. Its slot is busy with its end.
    Refused(Claim, T, S),
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
    pub(super) validating: usize,
    pub(super) ending: usize,
    pub(super) waiting: usize,
    pub(super) paused: bool,
}

impl<T, S, N> Slots<T, S, N> {
    pub(super) fn new(max: usize) -> Self {
        Slots {
            entries: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            waiters: Waiters::new(),
            max,
            shrunk: false,
            busy: [0; 3],
            overdue: Moment::NEVER,
            claims: 0,
            mode: Mode::Open,
        }
    }

    pub(super) fn occupied(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// Returns the number of occupied slots that are not ending.
    fn staying(&self) -> usize {
        self.occupied() - self.busy(Work::Ending)
    }

    fn busy(&self, work: Work) -> usize {
        self.busy[work as usize]
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            max: self.max,
            idle: self.idle.len(),
            lent: self.occupied() - self.idle.len() - self.busy.iter().sum::<usize>(),
            creating: self.busy(Work::Creating),
            validating: self.busy(Work::Validating),
            ending: self.busy(Work::Ending),
            waiting: self.waiters.waiting(),
            paused: self.mode == Mode::Paused,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.mode == Mode::Closed
    }

    pub(super) fn waiters(&mut self) -> &mut Waiters<(u32, T), N> {
        &mut self.waiters
    }

    /// Takes the handle that was used last, if `look` at its metadata returns something. Returns `None` if a caller waits.
    #[inline(always)]
    pub(super) fn take<D>(&mut self, holder: N, look: impl FnOnce(&mut S) -> Option<D>) -> Option<(u32, T, D)> {
        if self.mode != Mode::Open || !self.waiters.is_idle() {
            return None;
        }
        let slot = *self.idle.last()?;
        let Entry::Held(occupant, meta) = &mut self.entries[slot as usize] else { return None };
        let look = look(meta)?;
        self.idle.pop();
        match mem::replace(occupant, Occupant::Lent(holder)) {
            Occupant::Idle(handle) => Some((slot, handle, look)),
            Occupant::Lent(_) => None,
        }
    }

    /// Returns the metadata of a handle that is idle or lent.
    pub(super) fn meta(&mut self, slot: u32) -> Option<&mut S> {
        match &mut self.entries[slot as usize] {
            Entry::Held(_, meta) => Some(meta),
            _ => None,
        }
    }

    /// Returns the holder of a lent handle.
    pub(super) fn holder(&mut self, slot: u32) -> Option<&mut N> {
        match &mut self.entries[slot as usize] {
            Entry::Held(Occupant::Lent(holder), _) => Some(holder),
            _ => None,
        }
    }

    /// Puts a lent handle back. `wanted` sees its metadata, and returns whether the handle may stay.
    #[inline(always)]
    pub(super) fn put(&mut self, slot: u32, handle: T, wanted: impl FnOnce(&mut S) -> bool) -> Put<T, S> {
        let Entry::Held(occupant, meta) = &mut self.entries[slot as usize] else { unreachable!("{LENT}") };
        let wanted = wanted(meta);
        if wanted && self.mode == Mode::Open && self.waiters.is_idle() && !self.shrunk {
            *occupant = Occupant::Idle(handle);
            self.idle.push(slot);
            return Put::Idle;
        }
        self.put_elsewhere(slot, handle, wanted)
    }

    /// Grants the handle to a waiter, keeps it idle in a paused pool, or refuses it.
    #[inline(never)]
    fn put_elsewhere(&mut self, slot: u32, handle: T, wanted: bool) -> Put<T, S> {
        if wanted && self.mode != Mode::Closed && self.staying() <= self.max {
            if self.mode == Mode::Paused || self.waiters.is_idle() {
                if let Entry::Held(occupant, _) = &mut self.entries[slot as usize] {
                    *occupant = Occupant::Idle(handle);
                    self.idle.push(slot);
                }
                return Put::Idle;
            }
            return self.grant(slot, handle);
        }
        self.refuse(slot, handle)
    }

    #[cold]
    fn refuse(&mut self, slot: u32, handle: T) -> Put<T, S> {
        let (claim, meta) = self.claim(slot, Work::Ending, Moment::NEVER);
        Put::Refused(claim, handle, meta)
    }

    /// Grants a lent handle to the first waiter, which must exist.
    fn grant(&mut self, slot: u32, handle: T) -> Put<T, S> {
        let Ok((holder, waker)) = self.waiters.grant((slot, handle)) else { unreachable!("a caller waits") };
        if let Entry::Held(occupant, _) = &mut self.entries[slot as usize] {
            *occupant = Occupant::Lent(holder);
        }
        Put::Granted(waker)
    }

    /// Grants a lent handle to the first waiter, if there is one, also in a pool that has no other use for it.
    pub(super) fn put_to_waiter(&mut self, slot: u32, handle: T) -> Put<T, S> {
        if self.mode == Mode::Open && !self.waiters.is_idle() {
            return self.grant(slot, handle);
        }
        self.refuse(slot, handle)
    }

    /// Claims the slot of a lent handle for work.
    pub(super) fn claim(&mut self, slot: u32, work: Work, overdue: Moment) -> (Claim, S) {
        let (claim, entry) = self.occupy(slot, work, overdue);
        match entry {
            Entry::Held(_, meta) => (claim, meta),
            _ => unreachable!("{LENT}"),
        }
    }

    fn occupy(&mut self, slot: u32, work: Work, overdue: Moment) -> (Claim, Entry<T, S, N>) {
        self.claims = self.claims.wrapping_add(1);
        self.busy[work as usize] += 1;
        self.overdue = self.overdue.min(overdue);
        let busy = Entry::Busy { work, claim: self.claims, overdue, noticed: false };
        let former = mem::replace(&mut self.entries[slot as usize], busy);
        (Claim { slot, number: self.claims }, former)
    }

    /// Ends a claim. Returns the slot, which must get a new entry, or `None` if the claim is void.
    fn end_claim(&mut self, claim: Claim) -> Option<u32> {
        match &self.entries[claim.slot as usize] {
            Entry::Busy { work, claim: number, .. } if *number == claim.number => {
                self.busy[*work as usize] -= 1;
                Some(claim.slot)
            }
            _ => None,
        }
    }

    /// Lends the handle of a busy slot, so that it can be put, or to a caller that has validated it.
    ///
    /// # Errors
    ///
    /// The metadata, if the claim is void.
    pub(super) fn lend_claimed(&mut self, claim: Claim, meta: S, holder: N) -> Result<u32, S> {
        let Some(slot) = self.end_claim(claim) else { return Err(meta) };
        self.entries[slot as usize] = Entry::Held(Occupant::Lent(holder), meta);
        Ok(slot)
    }

    /// Changes the work of a busy slot. Returns `None` if the claim is void.
    pub(super) fn reclaim(&mut self, claim: Claim, work: Work, overdue: Moment) -> Option<Claim> {
        let slot = self.end_claim(claim)?;
        Some(self.occupy(slot, work, overdue).0)
    }

    /// Frees a busy slot. Returns `false` if the claim is void.
    pub(super) fn free(&mut self, claim: Claim) -> bool {
        let Some(slot) = self.end_claim(claim) else { return false };
        self.vacate(slot);
        true
    }

    fn vacate(&mut self, slot: u32) {
        self.entries[slot as usize] = Entry::Vacant;
        self.vacant.push(slot);
        self.shrunk &= self.occupied() > self.max;
    }

    /// Returns when the next busy slot may be overdue.
    pub(super) fn next_overdue(&self) -> Moment {
        self.overdue
    }

    /// Frees the slots whose work is overdue, and was so already some time ago, and returns their claims.
    ///
    /// After the whole process was stopped, all work is overdue. Its tasks get `grace` to end by themselves.
    pub(super) fn give_up(&mut self, now: Moment, grace: Duration) -> Vec<Claim> {
        if now < self.overdue {
            return Vec::new();
        }
        let mut given_up = Vec::new();
        self.overdue = Moment::NEVER;
        for (slot, entry) in (0..).zip(&mut self.entries) {
            let Entry::Busy { claim, overdue, noticed, .. } = entry else { continue };
            if *overdue <= now && *noticed {
                given_up.push(Claim { slot, number: *claim });
                continue;
            }
            if *overdue <= now {
                (*overdue, *noticed) = (now.after(grace), true);
            }
            self.overdue = self.overdue.min(*overdue);
        }
        given_up.retain(|claim| self.free(*claim));
        given_up
    }

    /// Returns whether a creation has a free slot and is needed, and fewer than `limit` creations run. `spare` is the
    /// number of handles that are to be idle besides those for the waiters.
    pub(super) fn wants(&self, limit: usize, spare: usize) -> bool {
        let creating = self.busy(Work::Creating);
        let ready = self.idle.len() + self.busy(Work::Validating);
        self.mode == Mode::Open
            && self.occupied() < self.max
            && creating < limit
            && creating < self.waiters.waiting().saturating_add(spare.saturating_sub(ready))
    }

    /// Occupies a slot for a creation.
    pub(super) fn begin(&mut self, overdue: Moment) -> Claim {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(Entry::Vacant);
            u32::try_from(self.entries.len() - 1).expect("a pool has fewer slots than u32::MAX")
        });
        self.occupy(slot, Work::Creating, overdue).0
    }

    /// Returns whether one more caller may join the queue, of which at most `limit` may wait for lent handles.
    pub(super) fn may_join(&self, limit: usize) -> Result<(), JoinError> {
        if self.mode == Mode::Closed {
            return Err(JoinError::Closed);
        }
        // A caller whose handle is being created or validated, or can be, does not wait for a lent one.
        let own = self.busy(Work::Creating) + self.busy(Work::Validating) + self.max.saturating_sub(self.occupied());
        if self.waiters.waiting() >= limit.saturating_add(own) {
            return Err(JoinError::Full);
        }
        Ok(())
    }

    /// Joins the queue, or, if `again` is set, goes back to its head. To be called in the same step as a
    /// [`take`](Slots::take) that returned nothing (3).
    pub(super) fn join(&mut self, holder: N, waker: Waker, again: bool) -> Ticket {
        if again { self.waiters.rejoin(holder, waker) } else { self.waiters.join(holder, waker) }
    }

    /// Changes the size, and takes out surplus idle handles, the longest idle first.
    pub(super) fn resize(&mut self, max: usize) -> Vec<(Claim, T, S)> {
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
        while !self.waiters.is_idle() {
            let Some(slot) = self.idle.pop() else { break };
            let Entry::Held(Occupant::Idle(handle), meta) =
                mem::replace(&mut self.entries[slot as usize], Entry::Vacant)
            else {
                unreachable!("the slot is idle");
            };
            let Ok((holder, waker)) = self.waiters.grant((slot, handle)) else { unreachable!("a caller waits") };
            self.entries[slot as usize] = Entry::Held(Occupant::Lent(holder), meta);
            wakers.extend(waker);
        }
        // The remaining waiters may begin creations.
        wakers.extend(self.waiters.wakers());
        wakers
    }

    /// Closes permanently. Returns the idle handles, and the wakers of all waiters, which find the pool closed.
    pub(super) fn close(&mut self) -> (Vec<(Claim, T, S)>, Vec<Waker>) {
        self.mode = Mode::Closed;
        (self.remove_idle(usize::MAX, |_| true), self.waiters.wakers())
    }

    /// Returns the number of slots that have ever been occupied at the same time.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the holders of the lent handles in these slots, as far as there are so many.
    pub(super) fn lent_in(&self, slots: std::ops::Range<usize>) -> impl Iterator<Item = &N> {
        let end = slots.end.min(self.entries.len());
        self.entries[slots.start.min(end)..end].iter().filter_map(|entry| match entry {
            Entry::Held(Occupant::Lent(holder), _) => Some(holder),
            _ => None,
        })
    }
}

const LENT: &str = "only lent handles are returned";

#[cfg(test)]
mod tests;
