use std::any::Any;
use std::{fmt, io};

use rusqlite::ErrorCode;

/// What can go wrong with SQLite here: its own errors, and those of the thread that a connection lives on.
///
/// It is the `Cause` of [`Sqlite`](crate::Sqlite) and [`Transaction`](crate::Transaction) alike, so a handler meets
/// `reqscope::Error<SqliteError>` where it asks for a handle and `SqliteError` where it works with one; `?` turns a
/// [`rusqlite::Error`] into the second and the second into the first.
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
    /// SQLite, or rusqlite above it, answered with an error.
    Sqlite(rusqlite::Error),
    /// The closure panicked, with this message. Its connection is in doubt from then on.
    Panicked(String),
    /// An earlier operation on this connection was cut or panicked, so nobody knows what it did. Nothing runs on the
    /// connection until it has been validated; a transaction can only be rolled back.
    InDoubt,
    /// The transaction is not open any more: SQLite rolled it back by itself (a full disk, an interrupt), or a
    /// statement of the handler's own ended it.
    RolledBack,
    /// The connections of one resource lead to more than one database, so its writers have no common queue.
    OtherDatabase,
    /// No thread could be started for the connection.
    Thread(io::Error),
    /// The connection's thread has gone: a destructor panicked on it.
    ThreadGone,
}

impl SqliteError {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let said = match payload.downcast::<String>() {
            Ok(said) => *said,
            Err(payload) => payload.downcast_ref::<&'static str>().copied().unwrap_or("no message").to_owned(),
        };
        SqliteError::Panicked(said)
    }

    /// SQLite's own code, if it is SQLite's error.
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

    /// The database was locked for longer than the connection was willing to wait.
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
            SqliteError::Panicked(said) => write!(f, "the closure panicked: {said}"),
            SqliteError::InDoubt => f.write_str("an earlier operation on this connection was cut"),
            SqliteError::RolledBack => f.write_str("the transaction has been rolled back"),
            SqliteError::OtherDatabase => f.write_str("a connection of another database"),
            SqliteError::Thread(_) => f.write_str("no thread for the connection"),
            SqliteError::ThreadGone => f.write_str("the connection's thread has gone"),
        }
    }
}

impl std::error::Error for SqliteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SqliteError::Sqlite(error) => Some(error),
            SqliteError::Thread(error) => Some(error),
            _ => None,
        }
    }
}
