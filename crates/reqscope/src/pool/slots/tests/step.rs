/// An operation on the state machine. A number is an index into what exists, modulo its count.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Takes the handle that was used last, if this accepts it.
    Take(bool),
    /// Joins the queue, with this limit, for an idle handle or another one.
    Join(usize),
    /// Joins the queue at its head.
    Rejoin,
    /// Stores the waker of a waiter.
    Register(usize),
    /// Lets a waiter check for its grant.
    TakeGrant(usize),
    Leave(usize),
    Put(usize, bool),
    /// Begins the validation of a lent handle.
    Validate(usize),
    /// Puts a handle back that was validated.
    PutValidated(usize, bool),
    /// Lends a handle that was validated.
    LendValidated(usize),
    /// Begins the release of a handle that is validated.
    EndValidated(usize),
    /// Begins a creation if one is wanted, with this limit and this number of spare handles.
    Begin(usize, usize),
    Created(usize),
    FreeCreating(usize),
    FreeEnding(usize),
    /// Lets work end that was given up.
    EndLate(usize),
    RemoveIdle(usize),
    ValidateAll,
    /// Lets time pass, and gives up what is overdue.
    Pass(u64),
    Resize(usize),
    Pause,
    Resume,
    Close,
}
