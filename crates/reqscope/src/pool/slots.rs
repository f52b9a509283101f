//! The machine under the pool: what is in each slot, and who waits. No async, no clock, no resource.
//!
//! `T` is an object, `S` its stub, which stays here while the object is out, `N` a note on who has it.
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
//! 1. A slot has one owner: this machine while it is vacant or idle, else whoever was told its number, until it says
//!    `put`, `end` and `free`, or `created`.
//! 2. Never more slots are taken than `max`, save after a [`resize`](Slots::resize) below that: then what comes back is
//!    refused until no more than `max` are left that are not ending.
//! 3. Nobody stands in the line while something is idle, unless the pool is paused.
//! 4. A creation is begun only where [`wants`](Slots::wants) says so: no more run than somebody waits for.
//! 5. After [`close`](Slots::close) nothing becomes idle and nobody is granted anything.
//! 6. Nothing foreign is called here. What leaves (an object, a waker) is dropped or woken by the caller, outside of
//!    the lock.

mod idle;

use std::mem;
use std::task::Waker;

use super::waiters::{Ticket, Waiters};

pub(super) struct Slots<T, S, N> {
    entries: Vec<Entry<T, S, N>>,
    /// The numbers of those that are vacant.
    vacant: Vec<u32>,
    /// The numbers of those that are idle; who came back last goes out first.
    idle: Vec<u32>,
    waiters: Waiters<(u32, T), N>,
    max: usize,
    /// Whether more are taken than `max`, as can be after a [`resize`](Slots::resize) only.
    shrunk: bool,
    creating: usize,
    ending: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Paused,
    Closed,
}

enum Entry<T, S, N> {
    Vacant,
    Creating,
    Held(Whereabouts<T, N>, S),
    Ending,
}

enum Whereabouts<T, N> {
    Idle(T),
    Lent(N),
}

/// What became of an object that came back.
pub(super) enum Put<T, S> {
    /// It is idle.
    Idle,
    /// It has gone to a waiter, who is to be woken.
    Granted(Option<Waker>),
    /// It is not wanted any more: its slot is `Ending`, and the caller ends it.
    Refused(T, S),
}

/// Why nobody may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    Closed,
    /// So many wait already.
    Full,
}

/// How many slots are what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) max: usize,
    pub(super) idle: usize,
    pub(super) lent: usize,
    pub(super) creating: usize,
    pub(super) ending: usize,
    pub(super) waiting: usize,
}

impl<T, S, N: Copy> Slots<T, S, N> {
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
            state: State::Open,
        }
    }

    fn taken(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// Those that are not on their way out.
    fn staying(&self) -> usize {
        self.taken() - self.ending
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            max: self.max,
            idle: self.idle.len(),
            lent: self.taken() - self.idle.len() - self.creating - self.ending,
            creating: self.creating,
            ending: self.ending,
            waiting: self.waiters.waiting(),
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many have had to wait so far.
    pub(super) fn joined(&self) -> u64 {
        self.waiters.joined()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Takes what was used last, if it is `good` enough. `None` also where others wait.
    #[inline]
    pub(super) fn take(&mut self, note: N, good: impl FnOnce(&S) -> bool) -> Option<(u32, T)> {
        if self.state != State::Open || !self.waiters.is_idle() {
            return None;
        }
        let slot = *self.idle.last()?;
        match &mut self.entries[slot as usize] {
            Entry::Held(place @ Whereabouts::Idle(_), stub) if good(stub) => {
                self.idle.pop();
                match mem::replace(place, Whereabouts::Lent(note)) {
                    Whereabouts::Idle(object) => Some((slot, object)),
                    Whereabouts::Lent(_) => None,
                }
            }
            _ => None,
        }
    }

    #[inline]
    fn lend(&mut self, slot: u32, note: N) -> Option<T> {
        match &mut self.entries[slot as usize] {
            Entry::Held(place, _) => match mem::replace(place, Whereabouts::Lent(note)) {
                Whereabouts::Idle(object) => Some(object),
                Whereabouts::Lent(_) => None,
            },
            _ => None,
        }
    }

    /// The stub of an object.
    pub(super) fn stub(&mut self, slot: u32) -> Option<&mut S> {
        match &mut self.entries[slot as usize] {
            Entry::Held(_, stub) => Some(stub),
            _ => None,
        }
    }

    /// An object comes back. `wanted` looks at its stub, and says whether it may stay.
    pub(super) fn put(&mut self, slot: u32, object: T, wanted: impl FnOnce(&mut S) -> bool) -> Put<T, S> {
        match self.put_idle(slot, object, wanted) {
            Ok(()) => Put::Idle,
            Err((object, wanted)) => self.put_elsewhere(slot, object, wanted),
        }
    }

    /// The same, unless anything is out of the ordinary: then it is left to [`put_elsewhere`](Slots::put_elsewhere).
    #[inline]
    pub(super) fn put_idle(
        &mut self,
        slot: u32,
        object: T,
        wanted: impl FnOnce(&mut S) -> bool,
    ) -> Result<(), (T, bool)> {
        let Entry::Held(place, stub) = &mut self.entries[slot as usize] else { return Err((object, false)) };
        let wanted = wanted(stub);
        if wanted && self.state == State::Open && self.waiters.is_idle() && !self.shrunk {
            *place = Whereabouts::Idle(object);
            self.idle.push(slot);
            return Ok(());
        }
        Err((object, wanted))
    }

    /// To a waiter, or among the idle ones of a pool that is paused, or out.
    #[inline(never)]
    pub(super) fn put_elsewhere(&mut self, slot: u32, object: T, wanted: bool) -> Put<T, S> {
        if !wanted || self.state == State::Closed || self.staying() > self.max {
            return self.refuse(slot, object);
        }
        if self.state == State::Open && !self.waiters.is_idle() {
            return self.grant(slot, object);
        }
        if let Entry::Held(place, _) = &mut self.entries[slot as usize] {
            *place = Whereabouts::Idle(object);
            self.idle.push(slot);
        }
        Put::Idle
    }

    fn grant(&mut self, slot: u32, object: T) -> Put<T, S> {
        match self.waiters.grant((slot, object)) {
            Ok((note, waker)) => {
                if let Entry::Held(place, _) = &mut self.entries[slot as usize] {
                    *place = Whereabouts::Lent(note);
                }
                Put::Granted(waker)
            }
            Err((slot, object)) => self.refuse(slot, object),
        }
    }

    #[cold]
    fn refuse(&mut self, slot: u32, object: T) -> Put<T, S> {
        Put::Refused(object, self.end(slot))
    }

    /// An object that is out will not come back: its owner ends it, and then says [`free`](Slots::free).
    pub(super) fn end(&mut self, slot: u32) -> S {
        match mem::replace(&mut self.entries[slot as usize], Entry::Ending) {
            Entry::Held(_, stub) => {
                self.ending += 1;
                stub
            }
            _ => unreachable!("what is out has its stub here"),
        }
    }

    /// The slot is vacant: a creation came to nothing, or an object has ended.
    pub(super) fn free(&mut self, slot: u32) {
        match mem::replace(&mut self.entries[slot as usize], Entry::Vacant) {
            Entry::Creating => self.creating -= 1,
            Entry::Ending => self.ending -= 1,
            Entry::Vacant | Entry::Held(..) => unreachable!("only what is created or ended is freed"),
        }
        self.vacant.push(slot);
        self.shrunk &= self.taken() > self.max;
    }

    /// Whether a creation would have somewhere to go and somebody to go to, and fewer than `limit` run. `spare`: how
    /// many objects are to be idle besides.
    pub(super) fn wants(&self, limit: usize, spare: usize) -> bool {
        self.state == State::Open
            && self.taken() < self.max
            && self.creating < limit
            && self.creating < self.waiters.waiting() + spare.saturating_sub(self.idle.len())
    }

    /// Takes a slot for a creation.
    pub(super) fn begin(&mut self) -> u32 {
        self.creating += 1;
        match self.vacant.pop() {
            Some(slot) => {
                self.entries[slot as usize] = Entry::Creating;
                slot
            }
            None => {
                self.entries.push(Entry::Creating);
                u32::try_from(self.entries.len() - 1).expect("a pool holds fewer objects than that")
            }
        }
    }

    /// The creation has brought an object.
    pub(super) fn created(&mut self, slot: u32, object: T, stub: S, note: N) -> Put<T, S> {
        self.creating -= 1;
        self.entries[slot as usize] = Entry::Held(Whereabouts::Lent(note), stub);
        self.put(slot, object, |_| true)
    }

    /// The creation has brought an object that nobody wants any more: the caller ends it.
    pub(super) fn unwanted(&mut self, slot: u32) {
        self.creating -= 1;
        self.ending += 1;
        self.entries[slot as usize] = Entry::Ending;
    }

    /// A place in the line, at its head for one who had its turn already: for whom [`take`](Slots::take) has nothing, in
    /// the same step (3). `limit`: how many may wait for what others have.
    pub(super) fn join(&mut self, note: N, limit: usize, again: bool) -> Result<Ticket, Refusal> {
        if self.state == State::Closed {
            return Err(Refusal::Closed);
        }
        if again {
            return Ok(self.waiters.rejoin(note));
        }
        // For whom something is made, or can be, waits for nobody's object.
        let made = self.creating + self.max.saturating_sub(self.taken());
        if self.waiters.waiting() >= limit.saturating_add(made) {
            return Err(Refusal::Full);
        }
        Ok(self.waiters.join(note, None))
    }

    /// The same for one who has nothing to hope for but what others have, and leaves its waker at once. `None`: there is
    /// something else, or nobody may wait any more.
    #[inline]
    pub(super) fn queue(&mut self, note: N, limit: usize, waker: &mut Option<Waker>) -> Option<Ticket> {
        let full = self.state == State::Open && self.idle.is_empty() && self.taken() >= self.max;
        (full && self.waiters.waiting() < limit).then(|| self.waiters.join(note, waker.take()))
    }

    pub(super) fn waiters(&mut self) -> &mut Waiters<(u32, T), N> {
        &mut self.waiters
    }

    /// The note on who has this one.
    pub(super) fn note(&mut self, slot: u32) -> Option<&mut N> {
        match &mut self.entries[slot as usize] {
            Entry::Held(Whereabouts::Lent(note), _) => Some(note),
            _ => None,
        }
    }

    /// Changes the size. What is idle and too many goes out, the longest idle first.
    pub(super) fn resize(&mut self, max: usize) -> Vec<(u32, T, S)> {
        self.max = max;
        self.shrunk = self.taken() > max;
        self.weed(self.staying().saturating_sub(max), |_| true)
    }

    /// Lends nothing and creates nothing until [`resume`](Slots::resume).
    pub(super) fn pause(&mut self) {
        if self.state == State::Open {
            self.state = State::Paused;
        }
    }

    /// Goes on, and gives what is idle to those who wait.
    pub(super) fn resume(&mut self) -> Vec<Waker> {
        if self.state != State::Paused {
            return Vec::new();
        }
        self.state = State::Open;
        let mut wakers = Vec::new();
        while let Some(note) = self.waiters.head() {
            let Some(slot) = self.idle.pop() else { break };
            let Some(object) = self.lend(slot, note) else { continue };
            if let Ok((_, waker)) = self.waiters.grant((slot, object)) {
                wakers.extend(waker);
            }
        }
        // Those who are left may begin creations.
        wakers.extend(self.waiters.wakers());
        wakers
    }

    /// For ever. What is idle goes out; those who wait are woken, to find it closed.
    pub(super) fn close(&mut self) -> (Vec<(u32, T, S)>, Vec<Waker>) {
        self.state = State::Closed;
        (self.weed(usize::MAX, |_| true), self.waiters.wakers())
    }

    /// Who has what.
    pub(super) fn lent(&self) -> impl Iterator<Item = &N> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Held(Whereabouts::Lent(note), _) => Some(note),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
