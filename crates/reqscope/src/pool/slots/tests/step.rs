/// An operation on the state machine. A number is an index into what exists, modulo its count.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Takes the handle that was used last, if this accepts it.
    Take(bool),
    /// Joins the queue, with this limit.
    Join(usize),
    /// Joins the queue at its head.
    Rejoin,
    /// Joins the queue with a waker, with this limit, if waiting for a lent handle is the only way.
    Queue(usize),
    /// Wakes the waiters that have joined since the last visit.
    Visit,
    /// Stores the waker of a waiter.
    Register(usize),
    /// Lets a waiter check for its grant.
    TakeGrant(usize),
    Leave(usize),
    Put(usize, bool),
    End(usize),
    /// Begins a creation if one is wanted, with this limit and this number of spare handles.
    Begin(usize, usize),
    Created(usize),
    FreeCreating(usize),
    FreeEnding(usize),
    RemoveIdle(usize),
    TakeAll,
    Resize(usize),
    Pause,
    Resume,
    Close,
}
