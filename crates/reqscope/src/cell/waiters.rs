use std::task::Waker;

/// Those who wait at a cell. None of it calls foreign code: wakers come cloned, and go to whoever drops or wakes them
/// outside of the lock.
///
/// Most cells never see two of their request's tasks at once, and carry no list.
pub(crate) struct CellWaiters<E> {
    list: Option<Box<List<E>>>,
}

struct List<E> {
    taken: Vec<CellWaiter<E>>,
    next: u64,
}

pub(crate) struct CellWaiter<E> {
    number: u64,
    waker: Option<Waker>,
    /// The answer to the attempt that was waited for (L7).
    answer: Option<E>,
}

/// What one waiter keeps between its polls.
#[derive(Default)]
pub(crate) struct WaiterId {
    place: Option<u64>,
}

impl WaiterId {
    pub(crate) fn is_registered(&self) -> bool {
        self.place.is_some()
    }
}

impl<E> List<E> {
    #[cold]
    fn wakers(&mut self) -> Vec<Waker> {
        self.taken.iter_mut().filter_map(|place| place.waker.take()).collect()
    }
}

impl<E> CellWaiters<E> {
    pub(crate) fn new() -> Self {
        CellWaiters { list: None }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.as_ref().is_none_or(|list| list.taken.is_empty())
    }

    fn taken(&mut self) -> impl Iterator<Item = &mut CellWaiter<E>> {
        self.list.iter_mut().flat_map(|list| &mut list.taken)
    }

    fn find(&mut self, waiter: &WaiterId) -> Option<&mut CellWaiter<E>> {
        let number = waiter.place?;
        self.taken().find(|place| place.number == number)
    }

    /// The answer that the waiter has not heard yet.
    pub(crate) fn answer(&mut self, waiter: &WaiterId) -> Option<E> {
        self.find(waiter)?.answer.take()
    }

    /// Answers all who wait for an answer. Who has one already waited for an earlier attempt, and keeps that one.
    pub(crate) fn answer_all(&mut self, answer: impl Fn() -> E) {
        let unanswered = self.taken().filter(|place| place.answer.is_none());
        unanswered.for_each(|place| place.answer = Some(answer()));
    }

    pub(crate) fn needs_waker(&mut self, waiter: &WaiterId, waker: &Waker) -> bool {
        match self.find(waiter) {
            Some(CellWaiter { waker: Some(known), .. }) => !known.will_wake(waker),
            _ => true,
        }
    }

    /// Puts the waker in the ticket's place, or in a new one; `None` keeps the one that is there. Returns the old one.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn register(&mut self, waiter: &mut WaiterId, waker: Option<Waker>) -> Option<Waker> {
        if let Some(place) = self.find(waiter) {
            return waker.and_then(|waker| place.waker.replace(waker));
        }
        let list = self.list.get_or_insert_with(|| Box::new(List { taken: Vec::new(), next: 0 }));
        let number = list.next;
        list.next += 1;
        waiter.place = Some(number);
        list.taken.push(CellWaiter { number, waker, answer: None });
        None
    }

    /// Frees the ticket's place, and returns what was in it.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn leave(&mut self, waiter: &mut WaiterId) -> Option<CellWaiter<E>> {
        let number = waiter.place.take()?;
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
