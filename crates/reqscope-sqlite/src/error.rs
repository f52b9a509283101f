use std::any::Any;
use std::{fmt, io};

use reqscope::error::Class;
use rusqlite::ErrorCode;

/// An error of SQLite, or of the thread of a connection.
///
/// It is the `Cause` of [`Sqlite`](crate::Sqlite) and [`Transaction`](crate::Transaction). Acquiring a handle returns a
/// `reqscope::Error<SqliteError>`, and the methods of the handle return a `SqliteError`. `?` converts a
/// [`rusqlite::Error`] into a `SqliteError`, and that into a `reqscope::Error`.
///
/// To an application that answers by [`Class`], a database that is [busy](Self::is_busy) is unavailable. So the
/// `ScopeError` of reqscope-tower, into which `?` converts this error, is a 503 then and a 500 otherwise.
///
/// ```
/// use reqscope_sqlite::SqliteError;
///
/// fn status(error: &SqliteError) -> u16 {
///     match error {
///         SqliteError::RolledBack => 409,
///         busy if busy.is_busy() => 503,
///         _ => 500,
///     }
/// }
/// assert_eq!(status(&SqliteError::RolledBack), 409);
/// assert_eq!(status(&SqliteError::InDoubt), 500);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SqliteError {
    /// SQLite, or rusqlite, returned an error.
    Sqlite(rusqlite::Error),
    /// The closure panicked with this message. The connection is in doubt from then on.
    Panicked(String),
    /// An earlier operation on this connection was cut or panicked, and it is unknown what it did. The connection runs
    /// nothing until it has been validated, and its transaction can only be rolled back.
    InDoubt,
    /// The transaction is no longer open: SQLite rolled it back by itself (a full disk, an interrupt), or a statement
    /// in a closure ended it.
    RolledBack,
    /// The resource returned connections to different databases, so its writers have no common queue.
    OtherDatabase,
    /// No thread could be started for the connection.
    Thread(io::Error),
    /// The thread of the connection has ended, because a destructor panicked on it.
    ThreadGone,
}

impl SqliteError {
    /// Creates an error from the payload of a panic.
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let message = match payload.downcast::<String>() {
            Ok(message) => *message,
            Err(payload) => payload.downcast_ref::<&'static str>().copied().unwrap_or("no message").to_owned(),
        };
        SqliteError::Panicked(message)
    }

    /// Returns SQLite's error code; `None` for errors that do not come from SQLite.
    ///
    /// ```
    /// use reqscope_sqlite::{SqliteError, rusqlite::{Connection, ErrorCode}};
    ///
    /// let error = Connection::open("/no/such/folder/a.db").map(drop).unwrap_err();
    /// assert_eq!(SqliteError::from(error).code(), Some(ErrorCode::CannotOpen));
    /// ```
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            SqliteError::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }

    /// Returns whether the database was locked for longer than
    /// [`busy_timeout`](crate::SqliteBuilder::busy_timeout).
    pub fn is_busy(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        SqliteError::Sqlite(error)
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqliteError::Sqlite(_) => f.write_str("sqlite failed"),
            SqliteError::Panicked(message) => write!(f, "the closure panicked: {message}"),
            SqliteError::InDoubt => f.write_str("an earlier operation on this connection was cut or panicked"),
            SqliteError::RolledBack => f.write_str("the transaction has been rolled back"),
            SqliteError::OtherDatabase => f.write_str("the connection belongs to another database"),
            SqliteError::Thread(_) => f.write_str("no thread could be started for the connection"),
            SqliteError::ThreadGone => f.write_str("the thread of the connection has ended"),
        }
    }
}

impl std::error::Error for SqliteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if self.is_busy() {
            Class::UNAVAILABLE.note();
        }
        match self {
            SqliteError::Sqlite(error) => Some(error),
            SqliteError::Thread(error) => Some(error),
            _ => None,
        }
    }
}
