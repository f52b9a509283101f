//! Those who wait for a slot, first come first served. A grant is put in the waiter's own hands: nobody who comes
//! later can be faster.
//!
//! 1. A waiter stands in the line or has a grant, never both.
//! 2. Grants go to the head of the line; who left with a grant unheard hands it back.
//! 3. Wakers come cloned, and leave to be woken or dropped outside of the lock.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

pub(super) struct Waiters<G, N> {
    /// Sorted by number.
    line: VecDeque<Waiter<N>>,
    /// Those who have not heard of theirs yet. Few at a time.
    granted: Vec<(i64, G)>,
    /// The next number at the end of the line; at its head they count down from -1.
    next: i64,
    first: i64,
    /// Whoever has this number or a higher one has not been visited.
    visited: i64,
}

struct Waiter<N> {
    number: i64,
    waker: Option<Waker>,
    note: N,
}

/// A place among them. Whoever holds it gives it to [`Waiters::leave`].
#[derive(Debug)]
pub(super) struct Ticket(i64);

impl<G, N> Waiters<G, N> {
    pub(super) fn new() -> Self {
        Waiters { line: VecDeque::new(), granted: Vec::new(), next: 0, first: -1, visited: 0 }
    }

    /// How many stand in the line.
    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.line.is_empty()
    }

    /// The note of the one whose turn it is.
    pub(super) fn head(&self) -> Option<N>
    where
        N: Copy,
    {
        self.line.front().map(|waiter| waiter.note)
    }

    /// How many have joined so far.
    pub(super) fn joined(&self) -> u64 {
        self.next.unsigned_abs()
    }

    /// A place at the end of the line.
    pub(super) fn join(&mut self, note: N, waker: Option<Waker>) -> Ticket {
        let number = self.next;
        self.next += 1;
        self.line.push_back(Waiter { number, waker, note });
        Ticket(number)
    }

    /// A place before all others, for one who had its turn and got something useless.
    pub(super) fn rejoin(&mut self, note: N) -> Ticket {
        let number = self.first;
        self.first -= 1;
        self.line.push_front(Waiter { number, waker: None, note });
        Ticket(number)
    }

    /// The grant, if there is one; the place is free then.
    pub(super) fn take(&mut self, ticket: &Ticket) -> Option<G> {
        let index = self.granted.iter().position(|(number, _)| *number == ticket.0)?;
        Some(self.granted.swap_remove(index).1)
    }

    /// Leaves a waker, and returns the one that was there.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(super) fn register(&mut self, ticket: &Ticket, waker: Waker) -> Option<Waker> {
        match self.find(ticket) {
            Some(index) => self.line[index].waker.replace(waker),
            None => Some(waker),
        }
    }

    /// Gives it to the head of the line: with the note of that one, and its waker.
    pub(super) fn grant(&mut self, grant: G) -> Result<(N, Option<Waker>), G> {
        let Some(waiter) = self.line.pop_front() else { return Err(grant) };
        self.granted.push((waiter.number, grant));
        Ok((waiter.note, waiter.waker))
    }

    /// A waiter goes. What it was granted and has not taken must go to the next one.
    #[must_use = "a waker is dropped outside of the lock, and a grant is passed on"]
    pub(super) fn leave(&mut self, ticket: &Ticket) -> (Option<G>, Option<Waker>) {
        if let Some(index) = self.find(ticket) {
            return (None, self.line.remove(index).and_then(|waiter| waiter.waker));
        }
        (self.take(ticket), None)
    }

    /// The wakers of all in the line, who stay there.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        self.line.iter_mut().filter_map(|waiter| waiter.waker.take()).collect()
    }

    /// The wakers of those who have joined since the last visit, and stay in the line. `None`: nobody has.
    pub(super) fn visit(&mut self) -> Option<Vec<Waker>> {
        let visited = mem::replace(&mut self.visited, self.next);
        let newcomers = self.line.iter_mut().rev().take_while(|waiter| waiter.number >= visited);
        (visited < self.next).then(|| newcomers.filter_map(|waiter| waiter.waker.take()).collect())
    }

    fn find(&self, ticket: &Ticket) -> Option<usize> {
        self.line.binary_search_by_key(&ticket.0, |waiter| waiter.number).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    impl<G, N> Waiters<G, N> {
        /// The invariants that one look can tell.
        pub(in crate::pool) fn check(&self) {
            assert!(self.line.iter().map(|waiter| waiter.number).is_sorted(), "the line is out of order");
            let mut numbers: BTreeSet<i64> = self.line.iter().map(|waiter| waiter.number).collect();
            assert!(self.granted.iter().all(|(number, _)| numbers.insert(*number)), "in two places (1)");
            assert!(
                numbers.iter().all(|number| (self.first + 1..self.next).contains(number)),
                "a number was not drawn"
            );
        }

        /// What this one has not heard of yet.
        pub(in crate::pool) fn granted(&self, ticket: &Ticket) -> Option<&G> {
            self.granted.iter().find(|(number, _)| *number == ticket.0).map(|(_, grant)| grant)
        }
    }
}
