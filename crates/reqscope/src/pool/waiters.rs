//! The queue of waiters, served in FIFO order. A grant carries the handle, so a later caller cannot overtake.
//!
//! 1. A waiter waits in the queue, or is outside of it and has a grant.
//! 2. Grants go to the first one that waits. A waiter that leaves with a grant returns it.
//! 3. Wakers are cloned by the caller, and returned to be woken or dropped outside of the lock.

use std::mem;
use std::task::Waker;

use crate::rt::list::List;

pub(super) struct Waiters<G, N> {
    list: List<Waiter<G, N>>,
}

enum Waiter<G, N> {
    /// With its holder.
    Waits(N, Option<Waker>),
    Granted(G),
}

/// A place in the queue. Its owner passes it to [`Waiters::leave`] unless it takes a grant.
#[derive(Debug)]
pub(super) struct Ticket(u32);

impl<G, N> Waiters<G, N> {
    pub(super) fn new() -> Self {
        Waiters { list: List::new() }
    }

    /// Returns how many wait.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.list.len()
    }

    /// Returns the holder of the waiter before which so many others wait.
    pub(super) fn nth(&self, before: usize) -> Option<&N> {
        match &self.list[self.list.queue().nth(before)?] {
            Waiter::Waits(holder, _) => Some(holder),
            Waiter::Granted(_) => None,
        }
    }

    /// Joins the queue at its end, or, `again`, at its head, for a waiter whose grant was unusable.
    pub(super) fn join(&mut self, holder: N, waker: Waker, again: bool) -> Ticket {
        let index = self.list.add(Waiter::Waits(holder, Some(waker)));
        if again {
            self.list.link_first(index);
        } else {
            self.list.link_last(index);
        }
        Ticket(index)
    }

    /// Grants to the first one that waits. Returns that waiter's holder and waker, or the grant if there is none.
    pub(super) fn grant(&mut self, grant: G) -> Result<(N, Option<Waker>), G> {
        let Some(first) = self.list.first() else { return Err(grant) };
        self.list.unlink(first);
        match mem::replace(&mut self.list[first], Waiter::Granted(grant)) {
            Waiter::Waits(holder, waker) => Ok((holder, waker)),
            Waiter::Granted(grant) => Err(grant),
        }
    }

    /// Takes the grant, if there is one. The ticket is used up then.
    pub(super) fn take(&mut self, ticket: &Ticket) -> Option<G> {
        if self.list.is_linked(ticket.0) { None } else { self.leave(ticket).0 }
    }

    /// Stores a waker, and returns the one that it replaces.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(super) fn register(&mut self, ticket: &Ticket, waker: Waker) -> Option<Waker> {
        match &mut self.list[ticket.0] {
            Waiter::Waits(_, former) => former.replace(waker),
            Waiter::Granted(_) => Some(waker),
        }
    }

    /// Removes a waiter. A grant that it has not taken must go to the next one.
    #[must_use = "a waker is dropped outside of the lock, and a grant is passed on"]
    pub(super) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        match self.list.remove(ticket.0) {
            Waiter::Waits(_, waker) => (None, waker),
            Waiter::Granted(grant) => (Some(grant), None),
        }
    }

    /// Takes the wakers of all waiters, which stay in the queue.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        let waker =
            |waiter: &mut Waiter<G, N>| if let Waiter::Waits(_, waker) = waiter { waker.take() } else { None };
        self.list.members().filter_map(waker).collect()
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
        pub(in crate::pool) fn check(&mut self) {
            for index in self.list.queue() {
                assert!(matches!(self.list[index], Waiter::Waits(..)), "a grant in the queue (1)");
            }
            let waiting = self.list.members().filter(|waiter| matches!(waiter, Waiter::Waits(..))).count();
            assert_eq!(waiting, self.waiting(), "a waiter outside of the queue (1)");
        }

        /// Returns the grant that this waiter has not taken yet.
        pub(in crate::pool) fn granted(&self, ticket: &Ticket) -> Option<&G> {
            match &self.list[ticket.0] {
                Waiter::Waits(..) => None,
                Waiter::Granted(grant) => Some(grant),
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
