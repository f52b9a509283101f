use std::task::Waker;

/// The waiters of a cell. Nothing here calls user code: wakers are cloned before the lock is taken, and are woken or
/// dropped by the caller after it is released.
///
/// Most cells are never used by two tasks of their request at once, and allocate no list.
pub(crate) struct CellWaiters<E> {
    list: Option<Box<List<E>>>,
}

struct List<E> {
    waiters: Vec<CellWaiter<E>>,
    next_id: u64,
}

pub(crate) struct CellWaiter<E> {
    id: u64,
    waker: Option<Waker>,
    /// The error of the attempt that this waiter waited for (L7).
    error: Option<E>,
}

/// What one waiter keeps between its polls: its number in the list, once it is registered.
#[derive(Default)]
pub(crate) struct WaiterId {
    id: Option<u64>,
}

impl WaiterId {
    pub(crate) fn is_registered(&self) -> bool {
        self.id.is_some()
    }
}

impl<E> List<E> {
    #[cold]
    fn take_wakers(&mut self) -> Vec<Waker> {
        self.waiters.iter_mut().filter_map(|waiter| waiter.waker.take()).collect()
    }
}

impl<E> CellWaiters<E> {
    pub(crate) fn new() -> Self {
        CellWaiters { list: None }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.as_ref().is_none_or(|list| list.waiters.is_empty())
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut CellWaiter<E>> {
        self.list.iter_mut().flat_map(|list| &mut list.waiters)
    }

    fn find(&mut self, waiter: &WaiterId) -> Option<&mut CellWaiter<E>> {
        let id = waiter.id?;
        self.iter_mut().find(|waiter| waiter.id == id)
    }

    /// Takes the error of the attempt that the waiter waited for, if that attempt has failed.
    pub(crate) fn take_error(&mut self, waiter: &WaiterId) -> Option<E> {
        self.find(waiter)?.error.take()
    }

    /// Stores the error for all waiters. One that already has an error waited for an earlier attempt, and keeps it.
    pub(crate) fn fail_all(&mut self, error: impl Fn() -> E) {
        let waiting = self.iter_mut().filter(|waiter| waiter.error.is_none());
        waiting.for_each(|waiter| waiter.error = Some(error()));
    }

    pub(crate) fn needs_waker(&mut self, waiter: &WaiterId, waker: &Waker) -> bool {
        match self.find(waiter) {
            Some(CellWaiter { waker: Some(known), .. }) => !known.will_wake(waker),
            _ => true,
        }
    }

    /// Registers the waiter, or updates its waker; `None` keeps the current one. Returns the old waker.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn register(&mut self, waiter: &mut WaiterId, waker: Option<Waker>) -> Option<Waker> {
        if let Some(waiter) = self.find(waiter) {
            return waker.and_then(|waker| waiter.waker.replace(waker));
        }
        let list = self.list.get_or_insert_with(|| Box::new(List { waiters: Vec::new(), next_id: 0 }));
        let id = list.next_id;
        list.next_id += 1;
        waiter.id = Some(id);
        list.waiters.push(CellWaiter { id, waker, error: None });
        None
    }

    /// Removes the waiter, and returns its entry.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn remove(&mut self, waiter: &mut WaiterId) -> Option<CellWaiter<E>> {
        let id = waiter.id.take()?;
        let waiters = &mut self.list.as_mut()?.waiters;
        let index = waiters.iter().position(|waiter| waiter.id == id)?;
        Some(waiters.swap_remove(index))
    }

    /// Takes all wakers, for the caller to wake.
    #[inline]
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        self.list.as_mut().map_or_else(Vec::new, |list| list.take_wakers())
    }
}
