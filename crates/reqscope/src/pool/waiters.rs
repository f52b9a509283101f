//! The queue of waiters, served in FIFO order. A grant carries the handle, so a later caller cannot overtake.
//!
//! 1. A waiter waits or has a grant, never both.
//! 2. Grants go to the first one that waits. A waiter that leaves with a grant returns it.
//! 3. Wakers are cloned by the caller, and returned to be woken or dropped outside of the lock.
//!
//! A place is found by a binary search of its number, and a place that is left stays in the queue as a gap. Gaps at the
//! front are removed at once, the others when they outnumber the places. So joining and granting take constant time, on
//! average, and leaving takes logarithmic time.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

pub(super) struct Waiters<G, N> {
    /// Sorted by number. The first place is no gap.
    queue: VecDeque<(i64, Place<G, N>)>,
    /// The index of the first place that waits, or else the length of the queue.
    head: usize,
    waiting: usize,
    gaps: usize,
    /// The next number at the end of the queue. Numbers given at its head count down from -1.
    next: i64,
    first: i64,
}

enum Place<G, N> {
    Waiting(Option<Waker>, N),
    /// A grant that the waiter has not taken yet.
    Granted(G),
    Gap,
}

/// A place in the queue. Its owner passes it to [`Waiters::leave`] unless it takes a grant.
#[derive(Debug)]
pub(super) struct Ticket(i64);

/// So many gaps are never worth a pass over the queue.
const FEW_GAPS: usize = 32;

impl<G, N> Waiters<G, N> {
    pub(super) fn new() -> Self {
        Waiters { queue: VecDeque::new(), head: 0, waiting: 0, gaps: 0, next: 0, first: -1 }
    }

    /// Returns how many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// Returns the holder of the waiter before which so many others wait.
    pub(super) fn nth(&self, before: usize) -> Option<&N> {
        let waiting = self.queue.range(self.head..).filter_map(|(_, place)| match place {
            Place::Waiting(_, holder) => Some(holder),
            _ => None,
        });
        waiting.into_iter().nth(before)
    }

    /// Returns how many waiters have joined so far.
    pub(super) fn joined(&self) -> u64 {
        self.next.unsigned_abs()
    }

    /// Joins the queue at its end.
    pub(super) fn join(&mut self, holder: N, waker: Waker) -> Ticket {
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        self.queue.push_back((number, Place::Waiting(Some(waker), holder)));
        Ticket(number)
    }

    /// Joins the queue at its head, for a waiter whose grant was unusable.
    pub(super) fn rejoin(&mut self, holder: N, waker: Waker) -> Ticket {
        let number = self.first;
        self.first -= 1;
        self.waiting += 1;
        self.head = 0;
        self.queue.push_front((number, Place::Waiting(Some(waker), holder)));
        Ticket(number)
    }

    /// Grants to the first one that waits. Returns that waiter's holder and waker, or the grant if there is none.
    pub(super) fn grant(&mut self, grant: G) -> Result<(N, Option<Waker>), G> {
        let Some((_, place)) = self.queue.get_mut(self.head) else { return Err(grant) };
        let Place::Waiting(waker, holder) = mem::replace(place, Place::Granted(grant)) else {
            unreachable!("the place at the head waits");
        };
        self.waiting -= 1;
        self.seek_head();
        Ok((holder, waker))
    }

    /// Takes the grant, if there is one. The ticket is used up then.
    pub(super) fn take(&mut self, ticket: &Ticket) -> Option<G> {
        let index = self.find(ticket)?;
        match &mut self.queue[index].1 {
            place @ Place::Granted(_) => {
                let Place::Granted(grant) = mem::replace(place, Place::Gap) else { return None };
                self.close_gaps();
                Some(grant)
            }
            _ => None,
        }
    }

    /// Stores a waker, and returns the one that it replaces.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(super) fn register(&mut self, ticket: &Ticket, waker: Waker) -> Option<Waker> {
        match self.find(ticket).map(|index| &mut self.queue[index].1) {
            Some(Place::Waiting(old, _)) => old.replace(waker),
            _ => Some(waker),
        }
    }

    /// Removes a waiter. A grant that it has not taken must go to the next one.
    #[must_use = "a waker is dropped outside of the lock, and a grant is passed on"]
    pub(super) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        let Some(index) = self.find(ticket) else { return (None, None) };
        match mem::replace(&mut self.queue[index].1, Place::Gap) {
            Place::Waiting(waker, _) => {
                self.waiting -= 1;
                if index == self.head {
                    self.seek_head();
                }
                self.close_gaps();
                (None, waker)
            }
            Place::Granted(grant) => {
                self.close_gaps();
                (Some(grant), None)
            }
            Place::Gap => (None, None),
        }
    }

    /// Takes the wakers of all waiters, which stay in the queue.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        let waiting = self.queue.range_mut(self.head..);
        waiting
            .filter_map(|(_, place)| if let Place::Waiting(waker, _) = place { waker.take() } else { None })
            .collect()
    }

    fn find(&self, ticket: &Ticket) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket.0, |(number, _)| *number).ok()
    }

    /// Moves the head on to the next place that waits.
    fn seek_head(&mut self) {
        while self.queue.get(self.head).is_some_and(|(_, place)| !matches!(place, Place::Waiting(..))) {
            self.head += 1;
        }
    }

    /// Removes gaps after one was made.
    fn close_gaps(&mut self) {
        self.gaps += 1;
        while let Some((_, Place::Gap)) = self.queue.front() {
            self.queue.pop_front();
            self.gaps -= 1;
            self.head = self.head.saturating_sub(1);
        }
        if self.gaps > FEW_GAPS && self.gaps > self.queue.len() / 2 {
            self.queue.retain(|(_, place)| !matches!(place, Place::Gap));
            (self.gaps, self.head) = (0, 0);
            self.seek_head();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    impl<G, N> Waiters<G, N> {
        /// Asserts the invariants that can be seen from one state.
        pub(in crate::pool) fn check(&self) {
            assert!(self.queue.iter().map(|(number, _)| number).is_sorted(), "the queue is out of order");
            let waits = |(_, place): &&(i64, Place<G, N>)| matches!(place, Place::Waiting(..));
            assert_eq!(self.queue.iter().filter(waits).count(), self.waiting);
            assert_eq!(self.queue.iter().position(|place| waits(&place)).unwrap_or(self.queue.len()), self.head);
            assert_eq!(self.queue.iter().filter(|(_, place)| matches!(place, Place::Gap)).count(), self.gaps);
            assert!(!matches!(self.queue.front(), Some((_, Place::Gap))), "there is a gap at the front");
        }

        /// Returns the grant that this waiter has not taken yet.
        pub(in crate::pool) fn granted(&self, ticket: &Ticket) -> Option<&G> {
            match &self.queue[self.find(ticket)?].1 {
                Place::Granted(grant) => Some(grant),
                _ => None,
            }
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
                    0 | 1 => waiting.push_back((waiters.join(number, Waker::noop().clone()), number)),
                    2 if which % 8 == 0 => {
                        waiting.push_front((waiters.rejoin(number, Waker::noop().clone()), number));
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
