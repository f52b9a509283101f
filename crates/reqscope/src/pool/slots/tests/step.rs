/// An operation on the state machine. A number is an index into what exists, modulo its count.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Takes the handle that was used last, if this accepts it.
    Take(bool),
    /// Takes an idle handle, or joins the queue, with this limit.
    Join(usize),
    /// Takes an idle handle, or joins the queue at its head.
    Rejoin,
    /// Stores the waker of a waiter.
    Register(usize),
    /// Lets a waiter check for its grant.
    TakeGrant(usize),
    Leave(usize),
    Put(usize, bool),
    /// Claims the slot of a lent handle for its validation.
    Validate(usize),
    /// Puts a handle back that was validated.
    PutValidated(usize, bool),
    /// Lends a handle that was validated.
    LendValidated(usize),
    /// Claims the slot of a handle that is validated for its release.
    EndValidated(usize),
    /// Begins a creation if one is wanted, with this limit and this number of spare handles.
    Begin(usize, usize),
    Created(usize),
    FreeCreating(usize),
    FreeEnding(usize),
    RemoveIdle(usize),
    ValidateAll,
    /// Lets time pass, and gives up what is overdue.
    Pass(u64),
    Resize(usize),
    Pause,
    Resume,
    Close,
}
