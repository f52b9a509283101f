/// What can be seen of a cell from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peek {
    /// Nobody has asked for it, or the last attempt failed, or the handle was detached.
    Unused,
    /// It is being acquired.
    Acquiring,
    /// It was acquired, and nobody holds it now.
    Ready,
    /// Somebody holds a guard.
    Lent,
    /// The scope is closed.
    Closed,
}
