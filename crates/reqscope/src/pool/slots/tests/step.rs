/// What can be done to it. Numbers choose among what there is, modulo.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// What was used last, if it pleases.
    Take(bool),
    /// A place in the line, for so many at most.
    Join(usize),
    Rejoin,
    /// The same for one who has nothing else to hope for, and leaves a waker at once.
    Queue(usize),
    /// All who have joined since the last time are woken.
    Visit,
    /// One who waits leaves a waker.
    Register(usize),
    /// One who waits looks for a grant.
    Hear(usize),
    Leave(usize),
    Put(usize, bool),
    End(usize),
    /// A creation, if it is wanted by so many at a time, and so many spare ones.
    Begin(usize, usize),
    Created(usize),
    FreeCreating(usize),
    FreeEnding(usize),
    Weed(usize),
    TakeAll,
    Resize(usize),
    Pause,
    Resume,
    Close,
}
