use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use reqscope::{Error, Exit};

use crate::source::BoxError;
use crate::stall::Stall;

/// The error of a [`LeaseBody`](crate::LeaseBody).
///
/// # Examples
///
/// ```
/// use reqscope::{Error, Exit};
/// use reqscope_http::LeaseBodyError;
/// use std::error::Error as _;
/// # use std::io;
///
/// let failed: LeaseBodyError<io::Error> = LeaseBodyError::Release(Error::failed(io::Error::other("disk full")));
/// assert_eq!(failed.to_string(), "failed to release the handle of the response body");
/// assert_eq!(failed.source().unwrap().to_string(), "the resource failed");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LeaseBodyError<C> {
    /// The body itself failed.
    Body(BoxError),
    /// The release of the handle failed, such as the COMMIT of the data that the body consists of.
    Release(Error<C>),
    /// The client did not take the body, or too slowly, so the body was dropped with its handle. See
    /// [`LeaseBody`](crate::LeaseBody#stalled-clients).
    #[non_exhaustive]
    Stalled {
        /// For how long the server had not asked for a frame.
        waited: Duration,
        /// The same together with what was left of earlier waits: the
        /// [`stall_timeout`](crate::LeaseBody::stall_timeout).
        behind: Duration,
        /// How the handle was released: `Cancelled`, unless the body had reached its end and its release (a COMMIT) had
        /// begun before the client stalled.
        exit: Exit,
    },
}

impl<C> LeaseBodyError<C> {
    pub(crate) fn stalled(stall: Stall) -> Self {
        LeaseBodyError::Stalled { waited: stall.waited, behind: stall.behind, exit: stall.exit }
    }
}

impl<C> fmt::Display for LeaseBodyError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaseBodyError::Body(_) => f.write_str("the response body failed"),
            LeaseBodyError::Release(_) => f.write_str("failed to release the handle of the response body"),
            &LeaseBodyError::Stalled { waited, behind, exit } => Stall { waited, behind, exit }.fmt(f),
        }
    }
}

impl<C: StdError + 'static> StdError for LeaseBodyError<C> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            LeaseBodyError::Body(error) => Some(&**error),
            LeaseBodyError::Release(error) => Some(error),
            LeaseBodyError::Stalled { .. } => None,
        }
    }
}
