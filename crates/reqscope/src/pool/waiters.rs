//! The queue of waiters, served in FIFO order. A grant carries the handle, so a later caller cannot overtake.
//!
//! 1. A waiter is in the queue or has a grant, never both.
//! 2. Grants go to the head of the queue. A waiter that leaves with a grant returns it.
//! 3. Wakers are cloned by the caller, and returned to be woken or dropped outside of the lock.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

pub(super) struct Waiters<G, N> {
    /// Sorted by number.
    queue: VecDeque<Waiter<N>>,
    /// Grants that their waiters have not taken yet. Few at a time.
    granted: Vec<(i64, G)>,
    /// The next number at the end of the queue. Numbers given at its head count down from -1.
    next: i64,
    first: i64,
    /// Waiters from this number on have not been visited.
    visited: i64,
}

struct Waiter<N> {
    number: i64,
    waker: Option<Waker>,
    holder: N,
}

/// A place in the queue. Its owner passes it to [`Waiters::leave`] unless it takes a grant.
#[derive(Debug)]
pub(super) struct Ticket(i64);

impl<G, N> Waiters<G, N> {
    pub(super) fn new() -> Self {
        Waiters { queue: VecDeque::new(), granted: Vec::new(), next: 0, first: -1, visited: 0 }
    }

    /// Returns the length of the queue.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the holder at the head of the queue.
    pub(super) fn head(&self) -> Option<N>
    where
        N: Clone,
    {
        self.queue.front().map(|waiter| waiter.holder.clone())
    }

    /// Returns the holder of the waiter before which so many others are in the queue.
    pub(super) fn nth(&self, before: usize) -> Option<N>
    where
        N: Clone,
    {
        self.queue.get(before).map(|waiter| waiter.holder.clone())
    }

    /// Returns how many waiters have joined so far.
    pub(super) fn joined(&self) -> u64 {
        self.next.unsigned_abs()
    }

    /// Joins the queue at its end.
    pub(super) fn join(&mut self, holder: N, waker: Option<Waker>) -> Ticket {
        let number = self.next;
        self.next += 1;
        self.queue.push_back(Waiter { number, waker, holder });
        Ticket(number)
    }

    /// Joins the queue at its head, for a waiter whose grant was unusable.
    pub(super) fn rejoin(&mut self, holder: N) -> Ticket {
        let number = self.first;
        self.first -= 1;
        self.queue.push_front(Waiter { number, waker: None, holder });
        Ticket(number)
    }

    /// Takes the grant, if there is one. The ticket is used up then.
    pub(super) fn take(&mut self, ticket: &Ticket) -> Option<G> {
        let index = self.granted.iter().position(|(number, _)| *number == ticket.0)?;
        Some(self.granted.swap_remove(index).1)
    }

    /// Stores a waker, and returns the one that it replaces.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(super) fn register(&mut self, ticket: &Ticket, waker: Waker) -> Option<Waker> {
        match self.find(ticket) {
            Some(index) => self.queue[index].waker.replace(waker),
            None => Some(waker),
        }
    }

    /// Grants to the head of the queue. Returns that waiter's holder and waker, or the grant if the queue is empty.
    pub(super) fn grant(&mut self, grant: G) -> Result<(N, Option<Waker>), G> {
        let Some(waiter) = self.queue.pop_front() else { return Err(grant) };
        self.granted.push((waiter.number, grant));
        Ok((waiter.holder, waiter.waker))
    }

    /// Removes a waiter. A grant that it has not taken must go to the next one.
    #[must_use = "a waker is dropped outside of the lock, and a grant is passed on"]
    pub(super) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        if let Some(index) = self.find(ticket) {
            return (None, self.queue.remove(index).and_then(|waiter| waiter.waker));
        }
        (self.take(ticket), None)
    }

    /// Takes the wakers of all waiters, which stay in the queue.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        self.queue.iter_mut().filter_map(|waiter| waiter.waker.take()).collect()
    }

    /// Takes the wakers of the waiters that have joined since the last visit. Returns `None` if there are none.
    pub(super) fn visit(&mut self) -> Option<Vec<Waker>> {
        let visited = mem::replace(&mut self.visited, self.next);
        let newcomers = self.queue.iter_mut().rev().take_while(|waiter| waiter.number >= visited);
        (visited < self.next).then(|| newcomers.filter_map(|waiter| waiter.waker.take()).collect())
    }

    fn find(&self, ticket: &Ticket) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket.0, |waiter| waiter.number).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    impl<G, N> Waiters<G, N> {
        /// Asserts the invariants that can be seen from one state.
        pub(in crate::pool) fn check(&self) {
            assert!(self.queue.iter().map(|waiter| waiter.number).is_sorted(), "the queue is out of order");
            let mut numbers: BTreeSet<i64> = self.queue.iter().map(|waiter| waiter.number).collect();
            assert!(self.granted.iter().all(|(number, _)| numbers.insert(*number)), "in two places (1)");
            assert!(
                numbers.iter().all(|number| (self.first + 1..self.next).contains(number)),
                "a number was not drawn"
            );
        }

        /// Returns the grant that this waiter has not taken yet.
        pub(in crate::pool) fn granted(&self, ticket: &Ticket) -> Option<&G> {
            self.granted.iter().find(|(number, _)| *number == ticket.0).map(|(_, grant)| grant)
        }
    }
}
