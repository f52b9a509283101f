use std::task::Waker;

/// Those who wait at a cell. None of it calls foreign code: wakers come cloned, and go to whoever drops or wakes them
/// outside of the lock.
///
/// Most cells never see two of their request's tasks at once, and carry no list.
pub(crate) struct Places<E> {
    list: Option<Box<List<E>>>,
}

struct List<E> {
    taken: Vec<Place<E>>,
    next: u64,
}

pub(crate) struct Place<E> {
    number: u64,
    waker: Option<Waker>,
    /// The answer to the attempt that was waited for (L7).
    answer: Option<E>,
}

/// What one waiter keeps between its polls.
#[derive(Default)]
pub(crate) struct Ticket {
    place: Option<u64>,
}

impl Ticket {
    pub(crate) fn has_place(&self) -> bool {
        self.place.is_some()
    }
}

impl<E> List<E> {
    #[cold]
    fn wakers(&mut self) -> Vec<Waker> {
        self.taken.iter_mut().filter_map(|place| place.waker.take()).collect()
    }
}

impl<E> Places<E> {
    pub(crate) fn new() -> Self {
        Places { list: None }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.as_ref().is_none_or(|list| list.taken.is_empty())
    }

    fn taken(&mut self) -> impl Iterator<Item = &mut Place<E>> {
        self.list.iter_mut().flat_map(|list| &mut list.taken)
    }

    fn find(&mut self, ticket: &Ticket) -> Option<&mut Place<E>> {
        let number = ticket.place?;
        self.taken().find(|place| place.number == number)
    }

    /// The answer that the waiter has not heard yet.
    pub(crate) fn answer(&mut self, ticket: &Ticket) -> Option<E> {
        self.find(ticket)?.answer.take()
    }

    /// Answers all who wait for an answer. Who has one already waited for an earlier attempt, and keeps that one.
    pub(crate) fn answer_all(&mut self, answer: impl Fn() -> E) {
        let unanswered = self.taken().filter(|place| place.answer.is_none());
        unanswered.for_each(|place| place.answer = Some(answer()));
    }

    pub(crate) fn needs_waker(&mut self, ticket: &Ticket, waker: &Waker) -> bool {
        match self.find(ticket) {
            Some(Place { waker: Some(known), .. }) => !known.will_wake(waker),
            _ => true,
        }
    }

    /// Puts the waker in the ticket's place, or in a new one; `None` keeps the one that is there. Returns the old one.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn register(&mut self, ticket: &mut Ticket, waker: Option<Waker>) -> Option<Waker> {
        if let Some(place) = self.find(ticket) {
            return waker.and_then(|waker| place.waker.replace(waker));
        }
        let list = self.list.get_or_insert_with(|| Box::new(List { taken: Vec::new(), next: 0 }));
        let number = list.next;
        list.next += 1;
        ticket.place = Some(number);
        list.taken.push(Place { number, waker, answer: None });
        None
    }

    /// Frees the ticket's place, and returns what was in it.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn leave(&mut self, ticket: &mut Ticket) -> Option<Place<E>> {
        let number = ticket.place.take()?;
        let taken = &mut self.list.as_mut()?.taken;
        let index = taken.iter().position(|place| place.number == number)?;
        Some(taken.swap_remove(index))
    }

    /// All wakers, to be woken.
    #[inline]
    pub(crate) fn wakers(&mut self) -> Vec<Waker> {
        self.list.as_mut().map_or_else(Vec::new, |list| list.wakers())
    }
}
