//! What the server has done to a connection, as opposed to its user.

use std::io;

use mysql_async::{Error, IoError, ServerError};

use crate::MySqlError;
use crate::error::refuses_writes;

/// The server shuts down.
const SHUTDOWN: u16 = 1053;
/// The server has lost its cluster, and refuses reads too.
const NO_CLUSTER: u16 = 1047;

/// How the server has failed an operation.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection was lost.
    Lost(io::ErrorKind),
    /// The server shuts down, has lost its cluster, or refuses writes.
    Refused(ServerError),
}

impl Fault {
    /// Returns how the server has failed, if this error says that it has.
    pub(crate) fn of(error: &Error) -> Option<Fault> {
        match error {
            Error::Io(IoError::Io(error)) if is_loss(error.kind()) => Some(Fault::Lost(error.kind())),
            Error::Server(error) if error.code == SHUTDOWN || refuses_writes(error) => {
                Some(Fault::Refused(error.clone()))
            }
            _ => None,
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Fault::Lost(_))
    }

    /// Returns whether the server still serves reads.
    pub(crate) fn is_of_writes_only(&self) -> bool {
        matches!(self, Fault::Refused(error) if !matches!(error.code, SHUTDOWN | NO_CLUSTER))
    }

    /// Returns the error that the server has returned or caused.
    pub(crate) fn to_error(&self) -> MySqlError {
        MySqlError::from(match self {
            Fault::Lost(kind) => Error::from(io::Error::from(*kind)),
            Fault::Refused(error) => Error::from(error.clone()),
        })
    }
}

/// Returns whether this kind of error ends a connection that has worked before. Others are the client's own, such as a
/// statement that is too long.
fn is_loss(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::*;
    matches!(
        kind,
        UnexpectedEof
            | ConnectionReset
            | ConnectionAborted
            | BrokenPipe
            | NotConnected
            | TimedOut
            | HostUnreachable
            | NetworkUnreachable
            | NetworkDown
    )
}
