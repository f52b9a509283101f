//! The tasks that wait for one event which happens to all of them at once: the end of a scope, or of all work.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;

/// The wakers of the waiting tasks. Nothing here calls user code: wakers are cloned before the lock around the list is
/// taken, and are woken or dropped by the caller after it is released.
#[derive(Default)]
pub(crate) struct WakerList {
    /// In the order of their registration. A map, so that joining, leaving and a new waker for a known ticket do not
    /// scan the list.
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

/// The place of one task in a [`WakerList`], from its first registration on. Its owner passes it to
/// [`leave`](WakerList::leave) when it stops waiting.
#[derive(Debug, Default)]
pub(crate) struct WakerTicket(Option<u64>);

impl WakerTicket {
    /// Returns whether the ticket has ever been registered, so that one that has not need not lock the list to leave.
    pub(crate) fn is_registered(&self) -> bool {
        self.0.is_some()
    }
}

impl WakerList {
    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    /// Registers the task, or updates its waker. Returns the old one.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn register(&mut self, ticket: &mut WakerTicket, waker: Waker) -> Option<Waker> {
        let number = *ticket.0.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.wakers.insert(number, waker)
    }

    /// Removes the task, and returns its waker, if it has not been woken.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn leave(&mut self, ticket: &mut WakerTicket) -> Option<Waker> {
        let waker = self.wakers.remove(&ticket.0.take()?);
        if self.wakers.is_empty() {
            // An empty map may keep memory.
            self.wakers = BTreeMap::new();
        }
        waker
    }

    /// Takes all wakers, for the caller to wake. A task that goes on waiting registers its ticket again.
    #[must_use = "wakers are woken outside of the lock"]
    pub(crate) fn take_all(&mut self) -> Vec<Waker> {
        mem::take(&mut self.wakers).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(list: &mut WakerList) -> WakerTicket {
        let mut ticket = WakerTicket::default();
        assert!(list.register(&mut ticket, Waker::noop().clone()).is_none());
        ticket
    }

    #[test]
    fn task_that_registers_again_has_one_place() {
        let mut list = WakerList::default();
        let mut ticket = join(&mut list);
        assert!(list.register(&mut ticket, Waker::noop().clone()).is_some());
        assert_eq!(list.take_all().len(), 1);
    }

    #[test]
    fn task_that_leaves_removes_only_itself() {
        let mut list = WakerList::default();
        let (mut first, _second) = (join(&mut list), join(&mut list));
        assert!(list.leave(&mut first).is_some());
        assert!(list.leave(&mut first).is_none());
        assert_eq!(list.take_all().len(), 1);
    }

    #[test]
    fn woken_task_leaves_nothing_and_takes_no_other_place() {
        let mut list = WakerList::default();
        let mut woken = join(&mut list);
        assert_eq!(list.take_all().len(), 1);
        let _next = join(&mut list);
        assert!(list.leave(&mut woken).is_none());
        assert!(!list.is_empty());
    }

    #[test]
    fn woken_task_can_wait_again() {
        let mut list = WakerList::default();
        let mut woken = join(&mut list);
        drop(list.take_all());
        assert!(list.register(&mut woken, Waker::noop().clone()).is_none());
        assert!(list.leave(&mut woken).is_some());
        assert!(list.is_empty());
    }
}
