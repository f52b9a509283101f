//! A queue that its members leave from any place in the same time, however many there are.

use std::ops::{Index, IndexMut};
use std::{iter, mem};

/// A doubly linked list within a vector. A member has an index, which it keeps until it is removed. It may also be outside
/// of the queue.
pub(crate) struct List<T> {
    /// The place [`END`] has no member. It is after the last one in the queue, and before the first one.
    places: Vec<Place>,
    /// Apart from their places, so that neighbours share a line of the cache.
    members: Vec<Option<T>>,
    vacant: Vec<u32>,
    /// The number of members in the queue.
    len: usize,
}

#[derive(Clone, Copy)]
struct Place {
    /// Its own index outside of the queue, and so is the next one.
    previous: u32,
    next: u32,
}

const END: u32 = 0;

const REMOVED: &str = "its owner does not use it after removing it";

/// The memory of so many vacant places is kept.
const FEW: usize = 64;

impl<T> List<T> {
    pub(crate) fn new() -> Self {
        List { places: vec![Place { previous: END, next: END }], members: vec![None], vacant: Vec::new(), len: 0 }
    }

    fn place(&mut self, index: u32) -> &mut Place {
        &mut self.places[index as usize]
    }

    /// Adds a member outside of the queue, and returns its index.
    pub(crate) fn add(&mut self, member: T) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.members.push(None);
            let index = u32::try_from(self.places.len()).expect("fewer than 2^32 tasks wait for one thing");
            self.places.push(Place { previous: index, next: index });
            index
        });
        self.members[index as usize] = Some(member);
        index
    }

    /// Puts a member that is outside of the queue at its head.
    pub(crate) fn link_first(&mut self, index: u32) {
        let first = self.place(END).next;
        self.link(index, first);
    }

    /// Puts a member that is outside of the queue at its end.
    pub(crate) fn link_last(&mut self, index: u32) {
        self.link(index, END);
    }

    fn link(&mut self, index: u32, next: u32) {
        let previous = mem::replace(&mut self.place(next).previous, index);
        self.place(previous).next = index;
        let place = self.place(index);
        (place.previous, place.next) = (previous, next);
        self.len += 1;
    }

    pub(crate) fn is_linked(&self, index: u32) -> bool {
        self.places[index as usize].next != index
    }

    /// Takes a member out of the queue, if it is there.
    pub(crate) fn unlink(&mut self, index: u32) {
        if self.is_linked(index) {
            let place = self.place(index);
            let previous = mem::replace(&mut place.previous, index);
            let next = mem::replace(&mut place.next, index);
            self.place(previous).next = next;
            self.place(next).previous = previous;
            self.len -= 1;
        }
    }

    /// Removes a member, which may be in the queue.
    pub(crate) fn remove(&mut self, index: u32) -> T {
        self.unlink(index);
        let member = self.members[index as usize].take().expect(REMOVED);
        self.vacant.push(index);
        if self.vacant.len() > FEW && self.vacant.len() == self.places.len() - 1 {
            *self = List::new();
        }
        member
    }

    /// Returns the number of members in the queue.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the indexes of the members in the queue, in its order.
    pub(crate) fn queue(&self) -> impl Iterator<Item = u32> {
        let next = |index: &u32| Some(self.places[*index as usize].next).filter(|next| *next != END);
        iter::successors(next(&END), next)
    }

    /// Returns the first member of the queue.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        Some(self.places[END as usize].next).filter(|first| *first != END)
    }

    /// Returns the last member of the queue.
    pub(crate) fn last(&self) -> Option<u32> {
        Some(self.places[END as usize].previous).filter(|last| *last != END)
    }

    /// Returns all members, also those outside of the queue, in no order.
    pub(crate) fn members(&mut self) -> impl Iterator<Item = &mut T> {
        self.members.iter_mut().filter_map(Option::as_mut)
    }
}

/// Panics if the member was removed.
impl<T> Index<u32> for List<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.members[index as usize].as_ref().expect(REMOVED)
    }
}

impl<T> IndexMut<u32> for List<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.members[index as usize].as_mut().expect(REMOVED)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn list_that_was_a_crowd_gives_its_memory_back() {
        let mut list = List::new();
        let members: Vec<_> = (0..100_000).map(|member| list.add(member)).collect();
        members.iter().for_each(|index| list.link_last(*index));
        // From both ends and the middle.
        for number in (0..100_000).step_by(2).chain((1..100_000).step_by(2)) {
            assert_eq!(list.remove(members[number]), number);
        }
        assert!(list.places.capacity() <= FEW && list.vacant.capacity() <= FEW);
    }

    #[test]
    fn empty_list_keeps_the_memory_of_a_few_places() {
        for (crowd, kept) in [(FEW, FEW), (FEW + 1, 0)] {
            let mut list = List::new();
            let members: Vec<_> = (0..crowd).map(|member| list.add(member)).collect();
            assert!(members.into_iter().map(|index| list.remove(index)).eq(0..crowd));
            assert_eq!(list.vacant.len(), kept);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn queue_has_the_order_of_a_plain_one(steps in vec((0..5_u8, 0..200_usize), 0..300)) {
            let (mut list, mut queue, mut outside) = (List::new(), VecDeque::new(), Vec::new());
            for (number, (step, which)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => outside.push((list.add(number), number)),
                    2 if !outside.is_empty() => {
                        let member = outside.swap_remove(which % outside.len());
                        if which % 2 == 0 {
                            list.link_first(member.0);
                            queue.push_front(member);
                        } else {
                            list.link_last(member.0);
                            queue.push_back(member);
                        }
                    }
                    3 if !queue.is_empty() => {
                        let member = queue.remove(which % queue.len()).expect("it is there");
                        list.unlink(member.0);
                        outside.push(member);
                    }
                    _ if !queue.is_empty() => {
                        let (index, number) = queue.remove(which % queue.len()).expect("it is there");
                        prop_assert_eq!(list.remove(index), number);
                    }
                    _ => {}
                }
                let indexes: Vec<_> = queue.iter().map(|(index, _)| *index).collect();
                prop_assert_eq!(list.queue().collect::<Vec<_>>(), indexes);
                prop_assert_eq!((list.len(), list.first(), list.last()),
                    (queue.len(), queue.front().map(|member| member.0), queue.back().map(|member| member.0)));
                prop_assert!(outside.iter().all(|(index, _)| !list.is_linked(*index)));
                for (index, number) in queue.iter().chain(&outside) {
                    prop_assert_eq!(&list[*index], number);
                }
                prop_assert_eq!(list.members().count(), queue.len() + outside.len());
            }
        }
    }
}
