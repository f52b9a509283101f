//! The queue of waiters, served in FIFO order. A grant carries the handle, so a later caller cannot overtake.
//!
//! 1. A waiter waits or has a grant, never both. Each place in the list has a holder, and no other place has one.
//! 2. Grants go to the first one that waits. A waiter that leaves with a grant returns it.
//! 3. Wakers are cloned by the caller, and returned to be woken or dropped outside of the lock.
//!
//! The queue is a doubly linked list, so that joining, granting and leaving take constant time. Tickets and links are
//! indexes of places. A place with a grant is no longer in the list, and belongs to its waiter until the grant is taken.

use std::task::Waker;

pub(super) struct Waiters<G, N> {
    /// The place [`END`] belongs to no waiter. It is after the last one that waits, and before the first one.
    places: Vec<Place<G, N>>,
    /// The places that belong to no waiter any more.
    vacant: Vec<usize>,
    waiting: usize,
    joined: u64,
}

struct Place<G, N> {
    previous: usize,
    next: usize,
    /// Set while it waits.
    holder: Option<N>,
    /// Set only while it waits.
    waker: Option<Waker>,
    /// Set until the waiter takes it.
    grant: Option<G>,
}

/// A place in the queue. Its owner passes it to [`Waiters::leave`] unless it takes a grant.
#[derive(Debug)]
pub(super) struct Ticket(usize);

const END: usize = 0;

/// The memory of so many vacant places is kept.
const FEW: usize = 64;

impl<G, N> Waiters<G, N> {
    pub(super) fn new() -> Self {
        let end = Place { previous: END, next: END, holder: None, waker: None, grant: None };
        Waiters { places: vec![end], vacant: Vec::new(), waiting: 0, joined: 0 }
    }

    /// Returns how many wait.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns the holder of the waiter before which so many others wait.
    pub(super) fn nth(&self, before: usize) -> Option<&N> {
        let index = (0..=before.min(self.waiting)).fold(END, |index, _| self.places[index].next);
        self.places[index].holder.as_ref()
    }

    /// Returns how many waiters have joined so far.
    pub(super) fn joined(&self) -> u64 {
        self.joined
    }

    /// Joins the queue at its end, or, `again`, at its head, for a waiter whose grant was unusable.
    pub(super) fn join(&mut self, holder: N, waker: Waker, again: bool) -> Ticket {
        self.joined += u64::from(!again);
        let next = if again { self.places[END].next } else { END };
        let index = self.vacant.pop().unwrap_or(self.places.len());
        let previous = self.places[next].previous;
        let place = Place { previous, next, holder: Some(holder), waker: Some(waker), grant: None };
        match self.places.get_mut(index) {
            Some(vacant) => *vacant = place,
            None => self.places.push(place),
        }
        (self.places[previous].next, self.places[next].previous) = (index, index);
        self.waiting += 1;
        Ticket(index)
    }

    fn unlink(&mut self, index: usize) {
        let Place { previous, next, .. } = self.places[index];
        (self.places[previous].next, self.places[next].previous) = (next, previous);
        self.waiting -= 1;
    }

    /// Grants to the first one that waits. Returns that waiter's holder and waker, or the grant if there is none.
    pub(super) fn grant(&mut self, grant: G) -> Result<(N, Option<Waker>), G> {
        let first = self.places[END].next;
        let place = &mut self.places[first];
        let Some(holder) = place.holder.take() else { return Err(grant) };
        place.grant = Some(grant);
        let waker = place.waker.take();
        self.unlink(first);
        Ok((holder, waker))
    }

    /// Takes the grant, if there is one. The ticket is used up then.
    pub(super) fn take(&mut self, ticket: &Ticket) -> Option<G> {
        self.places[ticket.0].grant.as_ref()?;
        self.leave(ticket).0
    }

    /// Stores a waker, and returns the one that it replaces.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(super) fn register(&mut self, ticket: &Ticket, waker: Waker) -> Option<Waker> {
        self.places[ticket.0].waker.replace(waker)
    }

    /// Removes a waiter. A grant that it has not taken must go to the next one.
    #[must_use = "a waker is dropped outside of the lock, and a grant is passed on"]
    pub(super) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        let place = &mut self.places[ticket.0];
        let left = (place.grant.take(), place.waker.take());
        if place.holder.take().is_some() {
            self.unlink(ticket.0);
        }
        self.vacant.push(ticket.0);
        if self.vacant.len() > FEW && self.vacant.len() == self.places.len() - 1 {
            *self = Waiters { joined: self.joined, ..Waiters::new() };
        }
        left
    }

    /// Takes the wakers of all waiters, which stay in the queue.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        self.places.iter_mut().filter_map(|place| place.waker.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    impl<G, N> Waiters<G, N> {
        /// Asserts the invariants that can be seen from one state.
        pub(in crate::pool) fn check(&self) {
            let (mut listed, mut vacant) = (BTreeSet::new(), BTreeSet::new());
            let mut index = END;
            for _ in 0..self.waiting {
                let next = self.places[index].next;
                assert_eq!(self.places[next].previous, index, "the links of two neighbours differ");
                assert!(listed.insert(next), "a place is listed twice");
                index = next;
            }
            assert_eq!((self.places[index].next, self.places[END].previous), (END, index), "the last one is not");
            assert!(self.vacant.iter().all(|index| vacant.insert(*index)), "a place is vacant twice");
            for (index, place) in self.places.iter().enumerate() {
                let of = (listed.contains(&index), vacant.contains(&index) || index == END);
                assert_eq!((place.holder.is_some(), place.grant.is_none() && place.holder.is_none()), of, "(1)");
                assert!(place.waker.is_none() || listed.contains(&index), "the waker of no waiter");
            }
        }

        /// Returns the grant that this waiter has not taken yet.
        pub(in crate::pool) fn granted(&self, ticket: &Ticket) -> Option<&G> {
            self.places[ticket.0].grant.as_ref()
        }
    }

    #[test]
    fn queue_that_was_a_crowd_gives_its_memory_back() {
        let mut waiters = Waiters::<(), ()>::new();
        let tickets: Vec<_> = (0..100_000).map(|_| waiters.join((), Waker::noop().clone(), false)).collect();
        for (number, ticket) in tickets.iter().enumerate() {
            if number % 2 == 0 {
                drop(waiters.leave(ticket));
            }
        }
        waiters.check();
        for ticket in tickets.iter().skip(1).step_by(2) {
            waiters.grant(()).expect("it is the next one");
            waiters.take(ticket).expect("it was granted");
        }
        assert!(waiters.places.capacity() <= FEW && waiters.vacant.capacity() <= FEW);
        assert_eq!(waiters.joined(), 100_000);
    }

    #[test]
    fn empty_queue_keeps_the_memory_of_a_few_places() {
        for (crowd, kept) in [(FEW, FEW), (FEW + 1, 0)] {
            let mut waiters = Waiters::<(), ()>::new();
            let tickets: Vec<_> = (0..crowd).map(|_| waiters.join((), Waker::noop().clone(), false)).collect();
            tickets.iter().for_each(|ticket| drop(waiters.leave(ticket)));
            assert_eq!(waiters.vacant.len(), kept);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against the obvious queue: a list of those who wait, and a list of those with a grant.
        #[test]
        fn queue_serves_in_the_order_of_a_plain_list(steps in vec((0..5_u8, 0..200_usize), 0..600)) {
            let mut waiters = Waiters::new();
            let (mut waiting, mut granted) = (VecDeque::new(), Vec::new());
            for (number, (step, which)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => waiting.push_back((waiters.join(number, Waker::noop().clone(), false), number)),
                    2 if which % 8 == 0 => {
                        waiting.push_front((waiters.join(number, Waker::noop().clone(), true), number));
                    }
                    2 => {
                        let served = waiters.grant(number).ok().map(|(holder, _)| holder);
                        let next = waiting.pop_front();
                        prop_assert_eq!(served, next.as_ref().map(|(_, holder)| *holder));
                        granted.extend(next.map(|(ticket, _)| (ticket, number)));
                    }
                    3 if !waiting.is_empty() => {
                        let (ticket, _) = waiting.remove(which % waiting.len()).expect("it is there");
                        prop_assert_eq!(waiters.leave(&ticket).0, None);
                    }
                    _ if !granted.is_empty() => {
                        let (ticket, grant) = granted.remove(which % granted.len());
                        let got = if which % 2 == 0 { waiters.take(&ticket) } else { waiters.leave(&ticket).0 };
                        prop_assert_eq!(got, Some(grant));
                    }
                    _ => {}
                }
                waiters.check();
                prop_assert_eq!(waiters.waiting(), waiting.len());
                prop_assert_eq!(waiters.nth(which).copied(), waiting.get(which).map(|(_, holder)| *holder));
            }
        }
    }
}
