use std::fmt;

/// The stage in the life of a handle in which an [`Error`](crate::Error) occurred.
///
/// ```
/// use reqscope::error::Stage;
/// use reqscope::Error;
/// use std::io;
///
/// let cut = Error::failed(io::Error::other("connection reset")).at(Stage::Validating);
/// assert_eq!(cut.stage(), Some(Stage::Validating));
/// assert_eq!(cut.to_string(), "the resource failed while validating");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Waiting for another user of the handle: in a pool's queue, or for a guard that another task of the request
    /// holds.
    Waiting,
    /// Creating a handle.
    Acquiring,
    /// Checking that a handle is alive and clean.
    Validating,
    /// Working with a handle.
    Using,
    /// Releasing a handle.
    Releasing,
    /// Working in the background, after a request: [`on_completed`](crate::ScopeHandle::on_completed).
    Background,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Waiting => "waiting",
            Stage::Acquiring => "acquiring",
            Stage::Validating => "validating",
            Stage::Using => "using",
            Stage::Releasing => "releasing",
            Stage::Background => "working in the background",
        })
    }
}
