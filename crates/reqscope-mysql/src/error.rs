use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::{ServerError, UrlError};
use reqscope::Error;
use reqscope::error::{Class, Stage};

/// An error of the driver, the server, or this crate.
///
/// It is the `Cause` of [`MySql`](crate::MySql) and [`Transaction`](crate::Transaction). The methods of
/// [`Queryable`](mysql_async::prelude::Queryable) can only return a [`mysql_async::Error`]; there it is wrapped in
/// [`Other`](mysql_async::Error::Other), and `MySqlError::from` unwraps it.
///
/// To an application that answers by [`Class`], a server that is gone, full or read-only is unavailable, and an
/// operation that took too long is a timeout. So the `ScopeError` of reqscope-tower, into which `?` converts this
/// error, is a 503 then and a 500 otherwise, also for an unknown outcome.
///
/// No message contains the URL or a part of it.
///
/// ```
/// use reqscope_mysql::MySqlError;
///
/// fn status(error: &MySqlError) -> u16 {
///     match error {
///         MySqlError::UnknownOutcome(_) => 502, // check before you repeat it
///         busy if busy.is_try_again() => 409,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(&MySqlError::UnknownOutcome(None)), 502);
/// assert_eq!(status(&MySqlError::InDoubt), 500);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum MySqlError {
    /// The server returned an error, or the driver could not communicate with it. The message is that of the driver's
    /// error, and so is the source.
    Driver(mysql_async::Error),
    /// The URL is invalid. The message says why without repeating any part of it: a password with a `?` or a `/` that
    /// is not percent-encoded may end up in any part.
    Url(&'static str),
    /// All addresses of the name were tried, and no connection could be made.
    Unreachable {
        /// The number of addresses.
        tried: usize,
        /// The last address that was tried.
        last: SocketAddr,
        /// The error of that address.
        cause: Box<MySqlError>,
    },
    /// A deadline passed.
    TimedOut {
        /// What took too long: `connecting`, `an operation`, ...
        what: &'static str,
        /// The timeout.
        after: Duration,
    },
    /// An earlier operation on this connection was cut, so its answer may still be on the way. The connection refuses
    /// every further operation.
    InDoubt,
    /// The connection is closed.
    Closed,
    /// The transaction is no longer open: the server rolled it back after a deadlock, or a statement of the handler
    /// ended it (a COMMIT, a CREATE TABLE).
    NotOpen,
    /// A COMMIT was sent and its answer was lost: it may have taken effect or not. The connection is not used again.
    UnknownOutcome(Option<Box<MySqlError>>),
    /// The server is read-only, and [`require_writable`](crate::MySqlBuilder::require_writable) is set.
    ReadOnly,
    /// The session has changed its role, which no reset undoes. The connection is not used again.
    Role,
    /// The address leads to another server than before: one of several behind a load balancer.
    Elsewhere,
    /// A handle could not be acquired or released. This variant is for code whose only error type is `MySqlError`, such
    /// as the work in [`Transaction::run`](crate::Transaction::run).
    Resource(Box<Error<MySqlError>>),
    /// A cut statement could not be stopped on the server, so it may still be running.
    NotStopped(Box<MySqlError>),
}

impl MySqlError {
    /// Returns the server's error, if there is one. Includes the error of the COMMIT, KILL or connection attempt that
    /// caused this error.
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

    /// Returns whether the transaction failed because of a concurrent one: a deadlock (1213), a lock wait that timed
    /// out (1205), or a snapshot that was outdated by a write (1020). Running all of it again is likely to succeed; see
    /// [`Transaction::run`](crate::Transaction::run).
    ///
    /// After a 1205, the rest of the transaction is still open, unless the server runs with
    /// `innodb_rollback_on_timeout`; roll it back before running it again.
    pub fn is_try_again(&self) -> bool {
        match self {
            MySqlError::Driver(mysql_async::Error::Server(server)) => is_conflict(server),
            MySqlError::Resource(error) => error.cause().is_some_and(MySqlError::is_try_again),
            _ => false,
        }
    }

    /// Returns whether the server refuses writes: it is or has become a replica (1290, 1836), or it has lost its
    /// cluster (1047).
    ///
    /// A connection with this error is not used again, unless it is younger than a second, so that the next connection
    /// resolves the name anew.
    pub fn is_read_only(&self) -> bool {
        match self {
            MySqlError::ReadOnly => true,
            MySqlError::Unreachable { cause, .. } => cause.is_read_only(),
            other => other.server().is_some_and(refuses_writes),
        }
    }

    /// Returns whether trying again cannot help: a wrong password, an unknown database, an invalid URL, a statement that
    /// the server does not understand.
    pub fn is_permanent(&self) -> bool {
        match self {
            MySqlError::Url(_) => true,
            // Access denied (1044, 1045, 1227, 1698, 3118), no such database (1049), plug-in (1524) or variable (1193), a
            // value that it cannot have (1231, 1232), not SQL (1064).
            _ => self.server().is_some_and(|server| {
                matches!(server.code, 1044 | 1045 | 1049 | 1064 | 1193 | 1227 | 1231 | 1232 | 1524 | 1698 | 3118)
            }),
        }
    }

    /// Returns whether no server is available: it refuses connections, is unreachable, shuts down (1053) or is full
    /// (1040, 1203).
    fn is_unavailable(&self) -> bool {
        match self {
            MySqlError::Unreachable { cause, .. } => cause.is_unavailable(),
            MySqlError::Driver(mysql_async::Error::Server(server)) => is_unavailable(server),
            MySqlError::Driver(error) => matches!(error, mysql_async::Error::Io(_)),
            MySqlError::ReadOnly => true,
            _ => false,
        }
    }

    /// Returns what this error says to callers that do not know its type, if it says more than "failed".
    fn class(&self) -> Option<Class> {
        match self {
            // The error inside has a class of its own.
            MySqlError::Resource(_) => None,
            MySqlError::TimedOut { .. } => Some(Class::TIMEOUT),
            MySqlError::UnknownOutcome(_) => Some(Class::UNKNOWN_OUTCOME),
            other => (other.is_unavailable() || other.is_read_only()).then_some(Class::UNAVAILABLE),
        }
    }

    /// Converts this cause into the error of a stage.
    pub(crate) fn at(self, stage: Stage) -> Error<MySqlError> {
        let error = match &self {
            MySqlError::TimedOut { after, .. } => Error::timeout(stage, *after).with_cause(self),
            MySqlError::UnknownOutcome(_) => Error::unknown_outcome(self),
            _ if self.is_permanent() => Error::permanent(self),
            _ if stage == Stage::Acquiring && self.is_unavailable() => Error::unavailable().with_cause(self),
            _ => Error::failed(self),
        };
        error.at(stage)
    }

    /// Converts this error into the driver's type, which the methods of `Queryable` return.
    pub(crate) fn into_driver(self) -> mysql_async::Error {
        match self {
            MySqlError::Driver(error) => error,
            ours => mysql_async::Error::Other(Box::new(ours)),
        }
    }
}

/// Returns whether this error means that a concurrent transaction was in the way.
pub(crate) fn is_conflict(error: &ServerError) -> bool {
    matches!(error.code, 1020 | 1205 | 1213)
}

/// Returns whether this error means that the server shuts down (1053), is full (1040, 1203) or refuses writes.
pub(crate) fn is_unavailable(error: &ServerError) -> bool {
    matches!(error.code, 1040 | 1053 | 1203) || refuses_writes(error)
}

/// Returns whether this error means that the server refuses writes.
pub(crate) fn refuses_writes(error: &ServerError) -> bool {
    match error.code {
        1047 | 1836 => true,
        // The same code is used when another option (`--secure-file-priv`) forbids a single statement.
        1290 => error.message.contains("read-only") || error.message.contains("read_only"),
        _ => false,
    }
}

impl fmt::Display for MySqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MySqlError::Driver(error) => error.fmt(f),
            MySqlError::Resource(error) => error.fmt(f),
            MySqlError::Url(reason) => write!(f, "the database URL {reason}"),
            MySqlError::Unreachable { tried, last, .. } => {
                write!(f, "could not connect to any of {tried} addresses, the last of which was {last}")
            }
            MySqlError::TimedOut { what, after } => write!(f, "{what} took longer than {after:?}"),
            MySqlError::InDoubt => f.write_str("an earlier operation on this connection was cut"),
            MySqlError::Closed => f.write_str("the connection is closed"),
            MySqlError::NotOpen => f.write_str("the transaction is no longer open"),
            MySqlError::UnknownOutcome(_) => {
                f.write_str("the COMMIT was cut, and it is unknown whether it took effect")
            }
            MySqlError::ReadOnly => f.write_str("the server is read-only"),
            MySqlError::Role => f.write_str("the role of the session was changed, which cannot be undone"),
            MySqlError::Elsewhere => f.write_str("the address leads to another server than before"),
            MySqlError::NotStopped(_) => f.write_str("a cut statement could not be stopped on the server"),
        }
    }
}

impl std::error::Error for MySqlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Some(class) = self.class() {
            class.note();
        }
        match self {
            // Their text is that of the error inside, so their source is its source.
            MySqlError::Driver(error) => error.source(),
            MySqlError::Resource(error) => error.source(),
            MySqlError::Unreachable { cause, .. } | MySqlError::NotStopped(cause) => Some(cause),
            MySqlError::UnknownOutcome(cause) => cause.as_deref().map(|cause| cause as _),
            MySqlError::Url(_)
            | MySqlError::TimedOut { .. }
            | MySqlError::InDoubt
            | MySqlError::Closed
            | MySqlError::NotOpen
            | MySqlError::ReadOnly
            | MySqlError::Role
            | MySqlError::Elsewhere => None,
        }
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
            // An error of this crate that `into_driver` has wrapped is unwrapped.
            mysql_async::Error::Other(other) => match other.downcast::<MySqlError>() {
                Ok(ours) => *ours,
                Err(other) => MySqlError::Driver(mysql_async::Error::Other(other)),
            },
            mysql_async::Error::Url(error) => url_error(&error),
            error => MySqlError::Driver(error),
        }
    }
}

/// Converts the driver's error into a reason without quotes. The driver quotes the part that it does not understand,
/// which may be half of a password with a `?` or a `/` in it.
fn url_error(error: &UrlError) -> MySqlError {
    MySqlError::Url(match error {
        UrlError::FeatureRequired { .. } => "has a parameter that this build of the driver does not support",
        UrlError::InvalidParamValue { .. } => "has a parameter with an invalid value",
        UrlError::InvalidPoolConstraints { .. } => "has a pool_min above its pool_max",
        UrlError::UnknownParameter { .. } => {
            "has an unknown parameter, or a `?` in the password that is not percent-encoded"
        }
        UrlError::UnsupportedScheme { .. } => "does not begin with `mysql://`",
        UrlError::Parse(_) => "is not a URL, or has a `/`, `@` or `:` in the password that is not percent-encoded",
        UrlError::Invalid => "is incomplete, or does not name a server",
    })
}
