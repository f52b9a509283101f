//! The state machine under the pool: the contents of each slot, and the queue of waiters. No async, no resource.
//!
//! `T` is a handle. `S` is its metadata, which stays in the slot while the handle is lent or validated. `N` identifies
//! its holder.
//!
//! | slot     | `take`, a grant | `put`                     | `occupy` | `lend`   | `free`     | `give_up` |
//! |----------|-----------------|---------------------------|----------|----------|------------|-----------|
//! | `Vacant` | -               | -                         | -        | -        | -          | -         |
//! | `Idle`   | → `Lent`        | -                         | -        | -        | -          | -         |
//! | `Lent`   | -               | → `Idle`, or to a waiter, | → `Busy` | → `Lent` | → `Vacant` | -         |
//! |          |                 | or, refused, `Busy`       |          |          |            |           |
//! | `Busy`   | -               | the same                  | → `Busy` | → `Lent` | → `Vacant` | → late    |
//! | late     | -               | refused                   | -        | -        | → `Vacant` | -         |
//!
//! A busy slot is occupied by work of the pool: a creation, a validation or a release. The work has a time by which it
//! must have ended. After it, [`give_up`](Slots::give_up) counts the slot as free: its work is [late](Work::Late), and
//! another slot takes its place. The work still owns the slot, until it ends and frees it.
//!
//! Invariants:
//!
//! 1. A slot has one owner: this machine while the slot is vacant or idle, and otherwise the caller that received its
//!    number.
//! 2. At most `max` slots are occupied, except after a [`resize`](Slots::resize) below the number of occupied ones:
//!    then returned handles are refused until at most `max` are left that are not ending.
//! 3. No caller waits while a handle is idle, unless the pool is paused.
//! 4. A creation begins only if [`wants`](Slots::wants) says so: no more run than there are waiters and missing idle
//!    handles.
//! 5. After [`close`](Slots::close) no handle becomes idle and none is granted.
//! 6. No user code runs in here. Handles, metadata and wakers are returned, for the caller to drop or wake outside of
//!    the lock.

use std::mem;
use std::task::Waker;
use std::time::Duration;

use super::status::PoolStatus;
use super::waiters::{Ticket, Waiters};
use crate::rt::clock::Moment;

pub(super) struct Slots<T, S, N> {
    entries: Vec<Entry<T, S, N>>,
    /// The numbers of the vacant slots.
    vacant: Vec<u32>,
    /// The numbers of the idle slots. The handle that was returned last is at the end, and is lent first.
    idle: Vec<u32>,
    pub(super) waiters: Waiters<(u32, T), N>,
    max: usize,
    /// Whether more than `max` slots are occupied, which only a [`resize`](Slots::resize) can cause.
    shrunk: bool,
    /// The numbers of slots with each kind of work.
    busy: [usize; 4],
    /// No busy slot is overdue before.
    pub(super) overdue: Moment,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Open,
    Paused,
    Closed,
}

struct Entry<T, S, N> {
    state: State<T, N>,
    /// Of a handle, until it is taken out to be released.
    meta: Option<S>,
}

enum State<T, N> {
    Vacant,
    Idle(T),
    Lent(N),
    Busy { work: Work, overdue: Moment, noticed: bool },
}

/// Work of the pool that occupies a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    Creating,
    Validating,
    Ending,
    /// Any of these that was given up. Its slot does not count as occupied.
    Late,
}

/// What happened to a handle that was put back: it is idle, or granted to a waiter, whose waker is returned; or it is
/// not wanted any more, and its slot is busy with its end.
pub(super) type Put<T> = Result<Option<Waker>, T>;

impl<T, S, N> Slots<T, S, N> {
    pub(super) fn new(max: usize) -> Self {
        Slots {
            entries: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            waiters: Waiters::new(),
            max,
            shrunk: false,
            busy: [0; 4],
            overdue: Moment::NEVER,
            mode: Mode::Open,
        }
    }

    pub(super) fn occupied(&self) -> usize {
        self.entries.len() - self.vacant.len() - self.busy(Work::Late)
    }

    /// Returns the number of occupied slots that are not ending.
    fn staying(&self) -> usize {
        self.occupied() - self.busy(Work::Ending)
    }

    pub(super) fn busy(&self, work: Work) -> usize {
        self.busy[work as usize]
    }

    /// Returns the gauges of the status of a pool.
    pub(super) fn gauges(&self) -> PoolStatus {
        let [creating, _, ending, _] = self.busy;
        let idle = self.idle.len();
        let in_use = self.occupied() - (idle + creating + ending);
        let (waiting, paused) = (self.waiters.waiting(), self.mode == Mode::Paused);
        PoolStatus { max_size: self.max, in_use, idle, creating, ending, waiting, paused, ..PoolStatus::default() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.mode == Mode::Closed
    }

    /// Returns the metadata of the handle in a slot, which is set when it was created, and taken when it is released.
    pub(super) fn meta(&mut self, slot: u32) -> &mut Option<S> {
        &mut self.entries[slot as usize].meta
    }

    /// Returns the metadata of all handles.
    pub(super) fn metadata(&mut self) -> impl Iterator<Item = &mut S> {
        self.entries.iter_mut().filter_map(|entry| entry.meta.as_mut())
    }

    /// Returns the idle slots, the longest idle first.
    pub(super) fn idle_slots(&self) -> Vec<u32> {
        self.idle.clone()
    }

    /// Sorts the idle handles, so that the one with the least key is lent last.
    pub(super) fn sort_idle<K: Ord>(&mut self, key: impl Fn(&S) -> K) {
        self.idle.sort_by_key(|&slot| self.entries[slot as usize].meta.as_ref().map(&key));
    }

    /// Returns the holders and the metadata of the lent handles in a part of the slots, of so many each. Returns `None`
    /// after the last part.
    pub(super) fn lent(&self, part: usize, of: usize) -> Option<impl Iterator<Item = (&N, &S)>> {
        let slots = self.entries.chunks(of).nth(part)?;
        Some(slots.iter().filter_map(|entry| match &entry.state {
            State::Lent(holder) => entry.meta.as_ref().map(|meta| (holder, meta)),
            _ => None,
        }))
    }

    /// Changes the state of a slot, and returns the former one. Returns the new one if the slot was given up: it can only
    /// be freed.
    fn enter(&mut self, slot: u32, state: State<T, N>) -> State<T, N> {
        let former = &mut self.entries[slot as usize].state;
        if let State::Busy { work, .. } = former {
            if *work == Work::Late && !matches!(state, State::Vacant) {
                return state;
            }
            self.busy[*work as usize] -= 1;
        }
        match &state {
            State::Vacant => self.vacant.push(slot),
            State::Idle(_) => self.idle.push(slot),
            State::Lent(_) => {}
            State::Busy { work, overdue, .. } => {
                self.busy[*work as usize] += 1;
                self.overdue = self.overdue.min(*overdue);
            }
        }
        let former = mem::replace(former, state);
        self.shrunk &= self.occupied() > self.max;
        former
    }

    /// Makes a slot busy, or changes its work, unless it was given up.
    pub(super) fn occupy(&mut self, slot: u32, work: Work, overdue: Moment) {
        self.enter(slot, State::Busy { work, overdue, noticed: false });
    }

    /// Frees a slot, whose metadata was taken, if it had any.
    pub(super) fn free(&mut self, slot: u32) {
        self.enter(slot, State::Vacant);
    }

    /// Lends the handle of a slot to its owner. Returns `false` if the slot was given up.
    pub(super) fn lend(&mut self, slot: u32, holder: N) -> bool {
        !matches!(self.enter(slot, State::Lent(holder)), State::Lent(_))
    }

    /// Takes the handle that was used last, if `look` at its metadata returns something. If a caller waits, no handle is
    /// idle (3).
    #[inline(always)]
    pub(super) fn take<D>(&mut self, holder: N, look: impl FnOnce(&mut S) -> Option<D>) -> Option<(u32, T, D)> {
        if self.mode != Mode::Open {
            return None;
        }
        let slot = *self.idle.last()?;
        let Entry { state, meta } = &mut self.entries[slot as usize];
        let look = look(meta.as_mut()?)?;
        self.idle.pop();
        match mem::replace(state, State::Lent(holder)) {
            State::Idle(handle) => Some((slot, handle, look)),
            _ => None,
        }
    }

    /// Puts a handle back. `wanted` sees its metadata, and returns whether the handle may stay.
    #[inline(always)]
    pub(super) fn put(&mut self, slot: u32, handle: T, wanted: impl FnOnce(&mut S) -> bool) -> Put<T> {
        let Entry { state, meta } = &mut self.entries[slot as usize];
        let wanted = meta.as_mut().is_some_and(wanted);
        let is_open = self.mode == Mode::Open && self.waiters.waiting() == 0 && !self.shrunk;
        if wanted && is_open && matches!(state, State::Lent(_)) {
            *state = State::Idle(handle);
            self.idle.push(slot);
            return Ok(None);
        }
        self.put_elsewhere(slot, handle, wanted)
    }

    /// Puts a handle back that was validated, or for which a caller may wait, or that may have to go.
    #[inline(never)]
    fn put_elsewhere(&mut self, slot: u32, handle: T, wanted: bool) -> Put<T> {
        let late = matches!(self.entries[slot as usize].state, State::Busy { work: Work::Late, .. });
        if !wanted || late || self.mode == Mode::Closed || self.staying() > self.max {
            self.occupy(slot, Work::Ending, Moment::NEVER);
            return Err(handle);
        }
        let granted = if self.mode == Mode::Open { self.waiters.grant((slot, handle)) } else { Err((slot, handle)) };
        match granted {
            Ok((holder, waker)) => {
                self.enter(slot, State::Lent(holder));
                Ok(waker)
            }
            Err((_, handle)) => {
                self.enter(slot, State::Idle(handle));
                Ok(None)
            }
        }
    }

    /// Returns whether a handle that is put back would be granted.
    pub(super) fn is_awaited(&self) -> bool {
        self.mode == Mode::Open && self.waiters.waiting() > 0
    }

    /// Grants the handle that was used last to the first waiter, whose waker is returned, if there are both (3).
    fn serve(&mut self) -> Option<Waker> {
        let slot = if self.is_awaited() { self.idle.pop()? } else { return None };
        let (holder, waker) = match mem::replace(&mut self.entries[slot as usize].state, State::Vacant) {
            State::Idle(handle) => self.waiters.grant((slot, handle)).ok()?,
            _ => return None,
        };
        self.enter(slot, State::Lent(holder));
        waker
    }

    /// Returns whether no more callers may join the queue, of which at most `limit` may wait for lent handles.
    pub(super) fn is_full(&self, limit: usize) -> bool {
        // A caller whose handle is being created or validated, or can be, does not wait for a lent one.
        let own = self.busy(Work::Creating) + self.busy(Work::Validating) + self.max.saturating_sub(self.occupied());
        let is_served = self.mode == Mode::Open && !self.idle.is_empty();
        !is_served && self.waiters.waiting() >= limit.saturating_add(own)
    }

    /// Joins the queue, or, if `again` is set, goes back to its head. If a handle is idle, it is granted at once (3).
    pub(super) fn join(&mut self, holder: N, again: bool) -> Ticket {
        let ticket = self.waiters.join(holder, Waker::noop().clone(), again);
        // If there is a waker, it is this one.
        drop(self.serve());
        ticket
    }

    /// Claims the slots of the idle handles that `pick` selects, the longest idle first. The work is not overdue until it
    /// occupies them itself.
    pub(super) fn claim(&mut self, work: Work, mut pick: impl FnMut(u32, &S) -> bool) -> Vec<(u32, T)> {
        let picked = |slot: &u32| self.entries[*slot as usize].meta.as_ref().is_some_and(|meta| pick(*slot, meta));
        let (claimed, left) = self.idle.drain(..).partition::<Vec<_>, _>(picked);
        self.idle.extend(left);
        let claim = |slot| match self.enter(slot, State::Busy { work, overdue: Moment::NEVER, noticed: false }) {
            State::Idle(handle) => Some((slot, handle)),
            _ => None,
        };
        claimed.into_iter().filter_map(claim).collect()
    }

    /// Gives up the slots whose work is overdue, and was so already some time ago, and returns them.
    ///
    /// After the whole process was stopped, all work is overdue. Its tasks get `grace` to end by themselves.
    pub(super) fn give_up(&mut self, now: Moment, grace: Duration) -> Vec<u32> {
        let mut given_up = Vec::new();
        if now < self.overdue {
            return given_up;
        }
        self.overdue = Moment::NEVER;
        for (slot, entry) in (0..).zip(&mut self.entries) {
            let State::Busy { overdue, noticed, .. } = &mut entry.state else { continue };
            if *overdue <= now {
                given_up.extend(mem::replace(noticed, true).then_some(slot));
                *overdue = now.after(grace);
            }
            self.overdue = self.overdue.min(*overdue);
        }
        given_up.iter().for_each(|&slot| self.occupy(slot, Work::Late, Moment::NEVER));
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
    pub(super) fn begin(&mut self, overdue: Moment) -> u32 {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(Entry { state: State::Vacant, meta: None });
            u32::try_from(self.entries.len() - 1).expect("a pool has fewer slots than u32::MAX")
        });
        self.occupy(slot, Work::Creating, overdue);
        slot
    }

    /// Changes the size, and takes out surplus idle handles, the longest idle first.
    pub(super) fn resize(&mut self, max: usize) -> Vec<(u32, T)> {
        self.max = max;
        self.shrunk = self.occupied() > max;
        let mut surplus = 0..self.staying().saturating_sub(max);
        self.claim(Work::Ending, |_, _| surplus.next().is_some())
    }

    /// Stops lending and creating until [`resume`](Slots::resume).
    pub(super) fn pause(&mut self) {
        if self.mode == Mode::Open {
            self.mode = Mode::Paused;
        }
    }

    /// Resumes, and grants the idle handles to waiters. Returns all wakers: the remaining waiters may begin creations.
    pub(super) fn resume(&mut self) -> Vec<Waker> {
        if self.mode != Mode::Paused {
            return Vec::new();
        }
        self.mode = Mode::Open;
        let wakers = self.waiters.wakers();
        // Their wakers are among these.
        (0..self.idle.len()).for_each(|_| drop(self.serve()));
        wakers
    }

    /// Closes permanently. Returns the idle handles, and the wakers of all waiters, which find the pool closed.
    pub(super) fn close(&mut self) -> (Vec<(u32, T)>, Vec<Waker>) {
        self.mode = Mode::Closed;
        (self.claim(Work::Ending, |_, _| true), self.waiters.wakers())
    }
}

#[cfg(test)]
mod tests;
