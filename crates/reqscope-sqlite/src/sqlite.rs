use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io};

use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Resource};
use rusqlite::Connection;

use crate::database::Database;
use crate::open::Settings;
use crate::{SqliteConn, SqliteError};

/// Connections to one SQLite database.
///
/// Each acquisition opens a connection on a thread of its own, and each release closes it. That takes 0.1 ms, because
/// one more connection stays open for as long as this resource or one of its connections lives: so none of them is
/// the last one to close, which would write the whole log back and remove it (16 ms on the same machine). What a fresh
/// connection pays for is reading its schema and filling its page cache. There are as many threads as connections in
/// use. A [`Pool`](reqscope::Pool) around it bounds them, and keeps the caches warm.
///
/// Every connection is in WAL mode, where readers and one writer work side by side, with `synchronous = NORMAL` and
/// `foreign_keys = ON`. In that mode a power cut may take the last commits with it; it never damages the database. For
/// commits that survive it say `PRAGMA synchronous = FULL` in [`on_open`](SqliteBuilder::on_open).
///
/// # Writing
///
/// Write through a [`Transaction`](crate::Transaction), single statements too: its writers wait in one queue, first
/// come first served. A write on a bare connection works, but it waits for the lock by asking again and again, with no
/// place in the queue, and fails with `SQLITE_BUSY` after [`busy_timeout`](SqliteBuilder::busy_timeout). A transaction on a
/// bare connection that reads first and then writes may fail at once, however long it would have waited. A database
/// that a closure attaches has no queue at all.
///
/// # The file
///
/// It is created on first use. If it disappears while the server runs, acquiring fails; an empty database does not
/// take its place. Handles that are out keep working on what they have. Do not copy another file over it meanwhile.
///
/// # Examples
///
/// ```
/// use reqscope::Scopes;
/// use reqscope_sqlite::Sqlite;
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("app.db");
/// let sqlite = Arc::new(Sqlite::new(path));
///
/// let scopes = Scopes::new();
/// let scope = scopes.open();
/// let mut conn = scope.lazy(&sqlite).get().await?;
/// let version: String = conn.call(|db| db.query_row("SELECT sqlite_version()", (), |row| row.get(0))).await?;
/// assert!(version.starts_with("3."));
/// # drop(conn);
/// # scope.close(reqscope::Exit::Completed).await?;
/// # Ok(())
/// # }
/// ```
pub struct Sqlite {
    settings: Settings,
    database: OnceLock<Arc<Database>>,
}

impl Sqlite {
    /// The database in this file, with the defaults of [`SqliteBuilder`]. Does no I/O.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::builder().build(path)
    }

    /// A new and empty database, which goes when its last user has gone: see [`SqliteBuilder::build_temporary`].
    ///
    /// # Errors
    ///
    /// If the system has no place for temporary files.
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope_sqlite::Sqlite;
    ///
    /// // Tests that run side by side do not meet.
    /// let (mine, yours) = (Sqlite::temporary()?, Sqlite::temporary()?);
    /// assert_ne!(mine.path(), yours.path());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn temporary() -> io::Result<Self> {
        Self::builder().build_temporary()
    }

    /// To set options.
    pub fn builder() -> SqliteBuilder {
        SqliteBuilder {
            settings: Settings {
                path: PathBuf::new(),
                database: None,
                read_only: false,
                busy_timeout: Duration::from_secs(5),
                statement_cache_capacity: 64,
                on_open: None,
            },
        }
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.settings.path
    }
}

impl Resource for Sqlite {
    type Handle = SqliteConn;
    type Cause = SqliteError;

    /// Opens a connection, on a new thread.
    ///
    /// # Errors
    ///
    /// [Permanent](Error::is_permanent) if the folder is missing or cannot be written, or the file is no database, is
    /// corrupt, is gone, or cannot be written; else SQLite may be busy, or the system out of threads or descriptors.
    ///
    /// # Cancel safety
    ///
    /// The new thread ends by itself, and nothing stays open.
    async fn acquire(&self) -> Result<SqliteConn, Error<SqliteError>> {
        let mut settings = self.settings.clone();
        settings.database = settings.database.or_else(|| self.database.get().cloned());
        let conn = SqliteConn::open(settings).await.map_err(|error| error.at(Stage::Acquiring))?;
        self.database.get_or_init(|| Arc::clone(conn.database()));
        Ok(conn)
    }

    /// Waits until the thread has left what it was cut in, rolls back what is open, and reads from the file.
    ///
    /// What a closure has set by `PRAGMA` or attached stays: that is its own to undo.
    ///
    /// # Errors
    ///
    /// If it cannot be rolled back, the file cannot be read, or the thread has gone. The connection is in doubt then.
    ///
    /// # Cancel safety
    ///
    /// The connection is in doubt, as before; it may be validated again.
    async fn validate(&self, conn: &mut SqliteConn) -> Result<(), Error<SqliteError>> {
        // Dropped here, the connection is in doubt again.
        conn.clean().await.map_err(|cause| Error::from(cause).at(Stage::Validating))
    }

    /// Closes the connection. What still runs was told to stop; this waits until it has.
    ///
    /// # Errors
    ///
    /// If SQLite cannot close it, or the thread has gone.
    ///
    /// # Cancel safety
    ///
    /// The thread has its order, and closes all the same.
    async fn release(&self, conn: SqliteConn, _exit: Exit) -> Result<(), Error<SqliteError>> {
        // Dropped here: the thread closes all the same.
        conn.close().await.map_err(|cause| Error::from(cause).at(Stage::Releasing))
    }

    fn probe(&self, conn: &SqliteConn) -> Health {
        match conn.is_idle() {
            false => Health::Dead,
            true if conn.has_transaction() => Health::Unknown,
            true => Health::Ready,
        }
    }

    /// Leaves an idle connection to its thread, which has nothing else to do than to close it.
    fn reclaim(&self, conn: SqliteConn, _exit: Exit) -> Result<(), SqliteConn> {
        if !conn.is_idle() {
            return Err(conn);
        }
        drop(conn);
        Ok(())
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.settings.path).finish_non_exhaustive()
    }
}

/// Sets up a [`Sqlite`].
///
/// ```
/// use reqscope_sqlite::Sqlite;
/// use std::time::Duration;
///
/// // For reports, beside the process that writes.
/// let reports = Sqlite::builder()
///     .read_only(true)
///     .busy_timeout(Duration::from_secs(1))
///     .statement_cache_capacity(16)
///     .on_open(|db| db.execute_batch("PRAGMA query_only = ON"))
///     .build("app.db");
/// # drop(reports);
/// ```
#[derive(Clone)]
#[must_use]
pub struct SqliteBuilder {
    settings: Settings,
}

impl SqliteBuilder {
    /// Opens the file for reading only. Default: no.
    ///
    /// The file must exist then, and be in WAL mode if somebody writes to it meanwhile: only who may write can turn
    /// that on. To read from a database that this process also writes to, prefer
    /// [`Transaction::read_only`](crate::Transaction::read_only) over one and the same resource.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.settings.read_only = read_only;
        self
    }

    /// How long SQLite waits for a lock that somebody else has before it answers `SQLITE_BUSY`. Default: 5 s.
    ///
    /// That is SQLite's custom, and long for a lock: within a process the writers queue before they ask for it (see
    /// [`Transaction`](crate::Transaction)), so only another process or a bare write is waited for. Cancelling ends
    /// the wait at once, whatever this says.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.settings.busy_timeout = timeout;
        self
    }

    /// How many statements made by [`prepare_cached`](rusqlite::Connection::prepare_cached) a connection keeps.
    /// Default: 64, more than a handler has, and a few KiB each.
    pub fn statement_cache_capacity(mut self, statements: usize) -> Self {
        self.settings.statement_cache_capacity = statements;
        self
    }

    /// What to do with each new connection before its first use: pragmas, functions of your own, tables that have to
    /// exist. Default: nothing.
    ///
    /// It comes after our own settings, so it has the last word. It runs on the connection's thread and may block. An
    /// error or a panic in it fails the acquisition.
    ///
    /// ```
    /// use reqscope_sqlite::Sqlite;
    ///
    /// let sqlite = Sqlite::builder()
    ///     .on_open(|db| db.execute_batch("CREATE TABLE IF NOT EXISTS hits (path TEXT NOT NULL)"))
    ///     .build("app.db");
    /// ```
    pub fn on_open<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Connection) -> rusqlite::Result<()> + Send + Sync + 'static,
    {
        self.settings.on_open = Some(Arc::new(hook));
        self
    }

    /// The database in this file. Does no I/O.
    pub fn build(mut self, path: impl Into<PathBuf>) -> Sqlite {
        self.settings.path = path.into();
        Sqlite { settings: self.settings, database: OnceLock::new() }
    }

    /// A new and empty database in a temporary file, which is removed when this resource and its last connection
    /// have gone (a process that ends in that very moment leaves it to the system).
    ///
    /// It stands in for SQLite's in-memory databases, which have no write-ahead log: their readers and writers would
    /// wait for each other, and a test would see another behaviour than production.
    ///
    /// # Errors
    ///
    /// If the system has no place for temporary files.
    pub fn build_temporary(mut self) -> io::Result<Sqlite> {
        let database = Database::temporary()?;
        self.settings.path = database.path().to_owned();
        self.settings.database = Some(database);
        Ok(Sqlite { settings: self.settings, database: OnceLock::new() })
    }
}

impl fmt::Debug for SqliteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteBuilder").finish_non_exhaustive()
    }
}
