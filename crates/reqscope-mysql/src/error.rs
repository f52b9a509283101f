use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::ServerError;
use reqscope::Error;
use reqscope::error::Stage;

/// What can go wrong with MySQL here: the driver's and the server's own errors, and those of what stands around them.
///
/// It is the `Cause` of [`MySql`](crate::MySql) and [`Transaction`](crate::Transaction). The methods of
/// [`Queryable`](mysql_async::prelude::Queryable) can only answer with a [`mysql_async::Error`]; there it travels as
/// [`Other`](mysql_async::Error::Other), and `MySqlError::from` takes it out again.
///
/// No message of it contains the URL, or a part of it.
///
/// ```
/// use reqscope_mysql::MySqlError;
///
/// fn status(error: &MySqlError) -> u16 {
///     match error {
///         MySqlError::UnknownOutcome(_) => 502, // ask before you do it again
///         busy if busy.is_try_again() => 409,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(&MySqlError::UnknownOutcome(None)), 502);
/// assert_eq!(status(&MySqlError::InDoubt), 500);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MySqlError {
    /// The server answered with an error, or the driver could not speak with it. It speaks for itself, as an operator who reads
    /// why a pool was empty reads no further than this.
    #[error(transparent)]
    Driver(mysql_async::Error),
    /// The URL cannot be used. Says why, and repeats nothing of it: a password with a `?` or a `/` that is not
    /// percent-encoded ends up in any part of it.
    #[error("the database URL {0}")]
    Url(&'static str),
    /// None of the addresses that the name stands for could be connected to; this is the last one, and why.
    #[error("none of {tried} addresses could be connected to, the last of them {last}")]
    Unreachable {
        /// How many there were.
        tried: usize,
        /// The last that was tried.
        last: SocketAddr,
        /// What happened there.
        #[source]
        cause: Box<MySqlError>,
    },
    /// A deadline passed.
    #[error("{what} took longer than {after:?}")]
    TimedOut {
        /// What took so long: `connecting`, `an operation`, ...
        what: &'static str,
        /// The time that it had.
        after: Duration,
    },
    /// An earlier operation on this connection was cut, so that its answer may still be on the way. Nothing is sent over it
    /// any more.
    #[error("an earlier operation on this connection was cut")]
    InDoubt,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
    /// The transaction is not open any more: the server rolled it back after a deadlock, or a statement of the
    /// handler's own ended it (a COMMIT, a CREATE TABLE).
    #[error("the transaction is not open any more")]
    NotOpen,
    /// A COMMIT was sent and its answer never heard: it may have happened or not. The connection is not used again.
    #[error("the COMMIT was cut, and nobody knows whether it has happened")]
    UnknownOutcome(#[source] Option<Box<MySqlError>>),
    /// The server is read-only, and [`require_writable`](crate::MySqlBuilder::require_writable) was asked for.
    #[error("the server is read-only")]
    ReadOnly,
    /// The session has taken a role, which no reset takes away again. The connection is not used again.
    #[error("the session has a role that it did not have at first")]
    Role,
    /// The address leads to another server than it did before: one of several behind a load balancer.
    #[error("the address leads to another server than before")]
    Elsewhere,
    /// The handle that was asked for could not be had or given back; for code that has this error for everything, such as
    /// the work in [`Transaction::run`](crate::Transaction::run).
    #[error(transparent)]
    Resource(Box<Error<MySqlError>>),
    /// The server could not be told to stop a statement that was cut, so it may still be at work.
    #[error("the server could not be told to stop a cut statement")]
    NotStopped(#[source] Box<MySqlError>),
}

impl MySqlError {
    /// The server's own error, if it is one, or of the COMMIT or connection attempt that this error is about.
    ///
    /// ```
    /// use reqscope_mysql::{MySqlError, mysql_async};
    ///
    /// let deadlock = mysql_async::ServerError { code: 1213, message: "Deadlock found".into(), state: "40001".into() };
    /// let error = MySqlError::from(mysql_async::Error::from(deadlock));
    /// assert_eq!(error.server().map(|server| server.code), Some(1213));
    /// assert!(error.is_try_again());
    /// ```
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            MySqlError::Driver(mysql_async::Error::Server(server)) => Some(server),
            MySqlError::Unreachable { cause, .. } | MySqlError::NotStopped(cause) => cause.server(),
            MySqlError::UnknownOutcome(cause) => cause.as_ref().and_then(|cause| cause.server()),
            MySqlError::Resource(error) => error.cause().and_then(MySqlError::server),
            _ => None,
        }
    }

    /// The transaction lost against another one and did nothing: a deadlock (1213), a lock that was waited for too long
    /// (1205), or a snapshot that was written to meanwhile (1020). Doing all of it again is likely to succeed; see
    /// [`Transaction::run`](crate::Transaction::run).
    ///
    /// After a 1205 the rest of the transaction is still open, unless the server runs with
    /// `innodb_rollback_on_timeout`; it has to be rolled back before it is done again.
    pub fn is_try_again(&self) -> bool {
        match self {
            MySqlError::Driver(mysql_async::Error::Server(server)) => matches!(server.code, 1020 | 1205 | 1213),
            MySqlError::Resource(error) => error.cause().is_some_and(MySqlError::is_try_again),
            _ => false,
        }
    }

    /// This server takes no writes: it is a replica, or was made one (1290, 1836), or has lost its cluster (1047).
    ///
    /// The connection that heard it is not used again, so that the next one resolves the name anew.
    pub fn is_read_only(&self) -> bool {
        match self {
            MySqlError::ReadOnly => true,
            MySqlError::Unreachable { cause, .. } => cause.is_read_only(),
            other => other.server().is_some_and(refuses_writes),
        }
    }

    /// Trying again cannot help: a wrong password, an unknown database, a URL that is none.
    pub fn is_permanent(&self) -> bool {
        match self {
            MySqlError::Url(_) => true,
            // Access denied (1044, 1045, 1698, 3118), no such database (1049), no such plug-in (1524).
            _ => self.server().is_some_and(|server| matches!(server.code, 1044 | 1045 | 1049 | 1524 | 1698 | 3118)),
        }
    }

    /// There is no server to speak with, or it takes nobody in: refused, unreachable, shutting down (1053), full (1040, 1203).
    fn is_unavailable(&self) -> bool {
        match self {
            MySqlError::Unreachable { cause, .. } => cause.is_unavailable(),
            MySqlError::Driver(mysql_async::Error::Server(server)) => matches!(server.code, 1040 | 1053 | 1203),
            MySqlError::Driver(error) => matches!(error, mysql_async::Error::Io(_)),
            MySqlError::ReadOnly => true,
            _ => false,
        }
    }

    /// As the error of a verb.
    pub(crate) fn at(self, stage: Stage) -> Error<MySqlError> {
        let error = match &self {
            MySqlError::TimedOut { after, .. } => Error::timeout(stage, *after).with_cause(self),
            _ if self.is_permanent() => Error::permanent(self),
            _ if stage == Stage::Acquiring && self.is_unavailable() => Error::unavailable().with_cause(self),
            _ => Error::failed(self),
        };
        error.at(stage)
    }

    /// As what the methods of `Queryable` can answer with.
    pub(crate) fn into_driver(self) -> mysql_async::Error {
        match self {
            MySqlError::Driver(error) => error,
            ours => mysql_async::Error::Other(Box::new(ours)),
        }
    }
}

/// Is this an answer of a server that takes no writes?
pub(crate) fn refuses_writes(error: &ServerError) -> bool {
    match error.code {
        1047 | 1836 => true,
        // The same code stands for other options (`--secure-file-priv`) that forbid one statement only.
        1290 => error.message.contains("read-only") || error.message.contains("read_only"),
        _ => false,
    }
}

impl From<Error<MySqlError>> for MySqlError {
    fn from(error: Error<MySqlError>) -> Self {
        MySqlError::Resource(Box::new(error))
    }
}

impl From<mysql_async::Error> for MySqlError {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            // What was ours on its way through the driver's type is ours again.
            mysql_async::Error::Other(other) => match other.downcast::<MySqlError>() {
                Ok(ours) => *ours,
                Err(other) => MySqlError::Driver(mysql_async::Error::Other(other)),
            },
            mysql_async::Error::Url(error) => crate::url::url_error(&error),
            error => MySqlError::Driver(error),
        }
    }
}
