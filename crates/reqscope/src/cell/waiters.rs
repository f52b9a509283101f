//! The waiters of a cell, in FIFO order. Nothing here calls user code: wakers are cloned before the lock is taken, and
//! are woken or dropped by the caller after it is released.
//!
//! 1. A waiter is in the queue, or has an error to take, or was set aside: it was at the head, had been woken, and was
//!    not polled in time. One that was set aside is not woken again, because that wake-up still stands, and goes back to
//!    the head when it is polled.
//! 2. A waiter for the early end of the value is never in the queue.
//! 3. Each step takes the same time however many waiters there are, except for steps that wake all of them.

use std::task::Waker;

use crate::exit::Exit;
use crate::rt::catch;
use crate::rt::list::List;

/// Most cells are never used by two tasks of their request at once, and allocate no queue.
pub(crate) struct CellWaiters<E> {
    queue: Option<Box<Queue<E>>>,
}

struct Queue<E> {
    list: List<Entry<E>>,
    /// Incremented whenever the waiter at the head may proceed.
    turn: u32,
    /// How many waiters have left the list from the head of the queue, served or not.
    served: u32,
}

struct Entry<E> {
    waker: Option<Waker>,
    /// The error of the attempt that this waiter waited for (L7).
    error: Option<E>,
    /// The attempt that this waiter has begun.
    began: Option<u32>,
    /// Whether this waiter waits for the early end of the value, and how that ended.
    ender: Option<Pending>,
    /// Set if the waiter has let the others go first, and may overtake them at its next poll.
    may_overtake: bool,
}

/// The result that a waiter for the early end of a value has not taken yet. An error is in `error`.
#[derive(Clone, Copy)]
enum Pending {
    Waits,
    Ended(Exit),
}

/// What one waiter keeps between its polls: its place in the list, once it is registered.
#[derive(Default)]
pub(crate) struct WaiterId {
    index: Option<u32>,
}

impl WaiterId {
    pub(crate) fn is_registered(&self) -> bool {
        self.index.is_some()
    }
}

/// How a waiter is registered that is not yet.
#[derive(Clone, Copy)]
pub(crate) enum Join {
    /// At the end of the queue.
    Last,
    /// At the end of the queue, from where it may overtake the others at its next poll.
    Yielding,
    /// At the head of the queue, for the caller that has begun this attempt.
    Beginner(u32),
    /// Outside of the queue, for a caller that waits for the early end of the value.
    Ender,
}

/// What a waiter leaves behind, to be dropped outside of the lock.
#[must_use = "it is dropped outside of the lock"]
pub(crate) struct Left<E> {
    _waker: Option<Waker>,
    _error: Option<E>,
}

/// Wakers to wake, outside of the lock.
#[must_use = "a waiter whose waker is lost may wait until its deadline"]
#[derive(Default)]
pub(crate) struct Wakers {
    few: [Option<Waker>; 3],
    all: Vec<Waker>,
}

impl Wakers {
    /// Adds others.
    pub(crate) fn and(mut self, others: Wakers) -> Wakers {
        self.all.extend(others.few.into_iter().flatten().chain(others.all));
        self
    }

    #[cold]
    pub(crate) fn wake(self) {
        self.few.into_iter().flatten().for_each(catch::wake);
        catch::wake_all(self.all);
    }
}

impl<E> Queue<E> {
    #[inline(never)]
    fn new() -> Box<Self> {
        Box::new(Queue { list: List::new(), turn: 0, served: 0 })
    }

    /// Takes the first waiter that matches out of the queue.
    fn unlink_where(&mut self, matches: impl Fn(&Entry<E>) -> bool) -> Option<&mut Entry<E>> {
        let index = self.list.queue().find(|index| matches(&self.list[*index]))?;
        self.list.unlink(index);
        Some(&mut self.list[index])
    }

    fn few_wakers(&mut self) -> Wakers {
        let few = [self.list.first(), self.list.queue().nth(1), self.list.last()];
        let few = few.map(|index| index.and_then(|index| self.list[index].waker.take()));
        Wakers { few, all: Vec::new() }
    }
}

impl<E> CellWaiters<E> {
    pub(crate) fn new() -> Self {
        CellWaiters { queue: None }
    }

    /// Returns whether the queue is empty.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.list.len() == 0)
    }

    /// Returns whether any waiter has ever been registered. Without one, no value is marked to end early.
    pub(crate) fn have_registered(&self) -> bool {
        self.queue.is_some()
    }

    fn find(&mut self, waiter: &WaiterId) -> Option<&mut Entry<E>> {
        let index = waiter.index?;
        self.queue.as_mut().map(|queue| &mut queue.list[index])
    }

    /// Returns the number of the turn of the waiter at the head.
    pub(crate) fn turn(&self) -> u32 {
        self.queue.as_ref().map_or(0, |queue| queue.turn)
    }

    /// Returns how many waiters have left the head of the queue.
    pub(crate) fn served(&self) -> u32 {
        self.queue.as_ref().map_or(0, |queue| queue.served)
    }

    /// Returns whether it is the waiter's turn if the cell has something to take. A waiter that was set aside goes back
    /// to the head, because it is being polled.
    pub(crate) fn is_next(&mut self, waiter: &WaiterId) -> bool {
        let Some(index) = waiter.index else { return self.is_empty() };
        let Some(Queue { list, .. }) = self.queue.as_deref() else { return false };
        list[index].may_overtake || !list.is_linked(index) || list.first() == Some(index)
    }

    /// Takes the error of the attempt that the waiter waited for, if that attempt has failed.
    pub(crate) fn take_error(&mut self, waiter: &WaiterId) -> Option<E> {
        self.find(waiter)?.error.take()
    }

    /// Returns whether the waiter has an error or the result of an early end to take.
    pub(crate) fn has_result(&mut self, waiter: &WaiterId) -> bool {
        self.find(waiter).is_some_and(|entry| entry.error.is_some() || matches!(entry.ender, Some(Pending::Ended(_))))
    }

    pub(crate) fn needs_waker(&mut self, waiter: &WaiterId, waker: &Waker) -> bool {
        match self.find(waiter) {
            Some(Entry { waker: Some(known), .. }) => !known.will_wake(waker),
            _ => true,
        }
    }

    /// Registers the waiter, or updates its waker; `None` keeps the current one. Returns the old waker.
    #[must_use = "a waker is dropped outside of the lock"]
    pub(crate) fn register(&mut self, waiter: &mut WaiterId, waker: Option<Waker>, join: Join) -> Option<Waker> {
        let Queue { list, .. } = &mut **self.queue.get_or_insert_with(Queue::new);
        if let Some(index) = waiter.index {
            let entry = &mut list[index];
            entry.may_overtake = false;
            let old = waker.and_then(|waker| entry.waker.replace(waker));
            if entry.ender.is_none() && !list.is_linked(index) {
                list.link_first(index);
            }
            return old;
        }
        let began = if let Join::Beginner(attempt) = join { Some(attempt) } else { None };
        let may_overtake = matches!(join, Join::Yielding);
        let ender = if let Join::Ender = join { Some(Pending::Waits) } else { None };
        let index = list.add(Entry { waker, error: None, began, ender, may_overtake });
        waiter.index = Some(index);
        match join {
            Join::Last | Join::Yielding => list.link_last(index),
            Join::Beginner(_) => list.link_first(index),
            Join::Ender => {}
        }
        None
    }

    /// Removes the waiter.
    pub(crate) fn remove(&mut self, waiter: &mut WaiterId) -> Option<Left<E>> {
        let index = waiter.index.take()?;
        let Queue { list, turn, served } = self.queue.as_deref_mut()?;
        if list.first() == Some(index) {
            *turn = turn.wrapping_add(1);
            *served = served.wrapping_add(1);
        }
        let entry = list.remove(index);
        Some(Left { _waker: entry.waker, _error: entry.error })
    }

    /// Sets the waiter at the head aside, if it has still not been polled since this turn began. Returns whether it was.
    pub(crate) fn set_aside(&mut self, turn: u32) -> bool {
        match &mut self.queue {
            Some(queue) if queue.turn == turn => queue.unlink_where(|_| true).is_some(),
            _ => false,
        }
    }

    /// Begins a turn: takes the wakers of the waiter at the head and of those who notice if it is not polled, which are
    /// the second and the last. The second has waited for longest after it; the last was polled most recently, so it is
    /// the least likely to be in a task or on a runtime that has stopped with the waiters before it.
    #[cold]
    pub(crate) fn next_turn(&mut self) -> Wakers {
        match &mut self.queue {
            Some(queue) => {
                queue.turn = queue.turn.wrapping_add(1);
                queue.few_wakers()
            }
            None => Wakers::default(),
        }
    }

    /// Takes the same wakers as [`next_turn`](Self::next_turn), within the current turn.
    #[cold]
    pub(crate) fn same_turn(&mut self) -> Wakers {
        self.queue.as_mut().map_or_else(Wakers::default, |queue| queue.few_wakers())
    }

    /// Begins a turn, and takes the wakers of all waiters, which stay in the queue.
    #[cold]
    pub(crate) fn all(&mut self) -> Wakers {
        let mut all = Vec::new();
        if let Some(queue) = &mut self.queue {
            queue.turn = queue.turn.wrapping_add(1);
            let waiters: Vec<_> = queue.list.queue().collect();
            all.extend(waiters.into_iter().filter_map(|index| queue.list[index].waker.take()));
        }
        Wakers { all, ..Wakers::default() }
    }

    /// Gives the error to all waiters, which leave the queue, and takes their wakers.
    #[cold]
    pub(crate) fn fail_all(&mut self, error: impl Fn() -> E) -> Wakers {
        let mut all = Vec::new();
        if let Some(queue) = &mut self.queue {
            while let Some(entry) = queue.unlink_where(|_| true) {
                entry.error = Some(error());
                all.extend(entry.waker.take());
            }
        }
        Wakers { all, ..Wakers::default() }
    }

    /// Returns the exit of the end that the waiter waited for, if the value has ended.
    pub(crate) fn exit(&mut self, waiter: &WaiterId) -> Option<Exit> {
        match self.find(waiter)?.ender {
            Some(Pending::Ended(exit)) => Some(exit),
            _ => None,
        }
    }

    /// Gives the result of an early end to all that wait for it, and takes the wakers of all waiters.
    #[cold]
    pub(crate) fn end(&mut self, outcome: Result<Exit, &E>) -> Wakers
    where
        E: Clone,
    {
        let mut wakers = self.all();
        if let Some(queue) = &mut self.queue {
            for entry in queue.list.members().filter(|entry| matches!(entry.ender, Some(Pending::Waits))) {
                match outcome {
                    Ok(exit) => entry.ender = Some(Pending::Ended(exit)),
                    Err(error) => entry.error = Some(error.clone()),
                }
                wakers.all.extend(entry.waker.take());
            }
        }
        wakers
    }

    /// Takes the wakers of all that wait for an early end.
    #[cold]
    pub(crate) fn enders(&mut self) -> Wakers {
        let entries = self.queue.iter_mut().flat_map(|queue| queue.list.members());
        let all = entries.filter(|entry| entry.ender.is_some()).filter_map(|entry| entry.waker.take()).collect();
        Wakers { all, ..Wakers::default() }
    }

    /// Gives the error to the waiter that has begun the attempt, and takes the wakers of all waiters.
    #[cold]
    pub(crate) fn fail_beginner(&mut self, attempt: u32, error: impl FnOnce() -> E) -> Wakers {
        let wakers = self.all();
        if let Some(queue) = &mut self.queue {
            if let Some(entry) = queue.unlink_where(|entry| entry.began == Some(attempt)) {
                entry.error = Some(error());
            }
        }
        wakers
    }
}
