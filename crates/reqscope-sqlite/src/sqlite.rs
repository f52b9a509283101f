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
/// Each acquisition opens a connection on a thread of its own, and each release closes it. Opening and closing take
/// 0.1 ms, because one more connection stays open as long as this resource or one of its connections exists. Without
/// it, closing the last connection would write the whole log back and remove it (16 ms on the same machine). The
/// remaining cost of a new connection is to read the schema and fill the page cache. There are as many threads as
/// connections in use. A [`Pool`](reqscope::Pool) around the resource limits them, and keeps the caches warm.
///
/// Every connection is in WAL mode, where readers and one writer work side by side, with `synchronous = NORMAL` and
/// `foreign_keys = ON`. In that mode a power cut may lose the last commits, but never damages the database. For commits
/// that survive a power cut, run `PRAGMA synchronous = FULL` in [`on_open`](SqliteBuilder::on_open).
///
/// # Writing
///
/// Write through a [`Transaction`](crate::Transaction), even single statements: writing transactions wait in one FIFO
/// queue. A write on a bare connection works, but polls for the lock outside that queue, and fails with `SQLITE_BUSY`
/// after [`busy_timeout`](SqliteBuilder::busy_timeout). A transaction on a bare connection that reads first and then
/// writes may fail at once, whatever the timeout. A database that a closure attaches has no queue at all.
///
/// # The file
///
/// The file is created on first use. If it disappears while the server runs, acquiring fails; the file is not replaced
/// by an empty database. Handles that are checked out keep working on the removed file. Do not copy another file over
/// it while the server runs.
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
    /// Creates a resource for the database in this file, with the defaults of [`SqliteBuilder`]. Does no I/O.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::builder().build(path)
    }

    /// Creates a resource for a new, empty database, which is removed when it is no longer used; see
    /// [`SqliteBuilder::build_temporary`].
    ///
    /// # Errors
    ///
    /// Returns an error if no temporary folder can be created.
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope_sqlite::Sqlite;
    ///
    /// // Tests that run at the same time do not share a database.
    /// let (mine, yours) = (Sqlite::temporary()?, Sqlite::temporary()?);
    /// assert_ne!(mine.path(), yours.path());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn temporary() -> io::Result<Self> {
        Self::builder().build_temporary()
    }

    /// Returns a builder, to set options.
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

    /// Returns the path of the database.
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
    /// Returns a [permanent](Error::is_permanent) error if the folder is missing or not writable, or the file is not a
    /// database, is corrupt, was removed, or is not writable. Other errors mean that SQLite is busy, or that the system
    /// is out of threads or file descriptors.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the new thread ends by itself, and nothing stays open.
    async fn acquire(&self) -> Result<SqliteConn, Error<SqliteError>> {
        let mut settings = self.settings.clone();
        settings.database = settings.database.or_else(|| self.database.get().cloned());
        let conn = SqliteConn::open(settings).await.map_err(|error| error.at(Stage::Acquiring))?;
        self.database.get_or_init(|| Arc::clone(conn.database()));
        Ok(conn)
    }

    /// Waits until the thread has left the closure that was cut, rolls back an open transaction, and reads from the
    /// file.
    ///
    /// Pragmas that a closure has set and databases that it has attached stay; the closure must undo them itself.
    ///
    /// # Errors
    ///
    /// Returns an error if the rollback fails, the file cannot be read, or the thread has ended. The connection is then
    /// in doubt.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt; it may be validated again.
    async fn validate(&self, conn: &mut SqliteConn) -> Result<(), Error<SqliteError>> {
        // If this is dropped here, the connection is in doubt.
        conn.clean().await.map_err(|cause| Error::from(cause).at(Stage::Validating))
    }

    /// Closes the connection, after waiting until a cut closure has stopped.
    ///
    /// # Errors
    ///
    /// Returns an error if SQLite cannot close the connection, or the thread has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the thread still closes the connection.
    async fn release(&self, conn: SqliteConn, _exit: Exit) -> Result<(), Error<SqliteError>> {
        // If this is dropped here, the thread still closes the connection.
        conn.close().await.map_err(|cause| Error::from(cause).at(Stage::Releasing))
    }

    /// Returns `Dirty` for a connection with an open transaction, which keeps others from writing, and `Dead` for one in
    /// doubt.
    fn probe(&self, conn: &SqliteConn) -> Health {
        match conn.is_idle() {
            false => Health::Dead,
            true if conn.has_transaction() => Health::Dirty,
            true => Health::Ready,
        }
    }

    /// Drops an idle connection, which its thread then closes. Returns a connection in doubt to the caller.
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

/// A builder for [`Sqlite`].
///
/// ```
/// use reqscope_sqlite::Sqlite;
/// use std::time::Duration;
///
/// // For reports, in another process than the one that writes.
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
    /// Sets whether the file is opened for reading only. Defaults to `false`, because most applications write.
    ///
    /// A file that is opened for reading must exist, and must be in WAL mode if another process writes to it meanwhile,
    /// because only a connection that may write can enable that mode. To read from a database that this process also
    /// writes to, prefer [`ReadOnly`](crate::ReadOnly) around the same resource.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.settings.read_only = read_only;
        self
    }

    /// Sets how long SQLite waits for a lock of another connection before it returns `SQLITE_BUSY`. Defaults to 5 s,
    /// which is customary with SQLite.
    ///
    /// 5 s is long for a lock: the writers of one process queue before they take it (see
    /// [`Transaction`](crate::Transaction)), so only another process or a write on a bare connection makes them wait.
    /// Cancellation ends the wait at once, whatever the timeout.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.settings.busy_timeout = timeout;
        self
    }

    /// Sets how many statements of [`prepare_cached`](rusqlite::Connection::prepare_cached) a connection keeps.
    /// Defaults to 64, because that is more than a handler uses, and a statement takes only a few KiB.
    pub fn statement_cache_capacity(mut self, statements: usize) -> Self {
        self.settings.statement_cache_capacity = statements;
        self
    }

    /// Sets a hook that runs on each new connection before its first use, for pragmas, SQL functions, or tables that
    /// must exist. Defaults to none, because the settings of this crate suit most databases. A later call replaces an
    /// earlier one.
    ///
    /// The hook runs after the settings of this crate, so it can override them. It runs on the connection's thread and
    /// may block. An error or a panic in it fails the acquisition.
    ///
    /// A statement that writes needs the lock to write, which the request that opens the connection may hold itself, in
    /// a transaction. It gets an error after a second. So write only what is missing, which is nothing from the second
    /// connection on, and run migrations at the start of the program, as the example `shop` of the repository does.
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

    /// Builds a resource for the database in this file. Does no I/O.
    pub fn build(mut self, path: impl Into<PathBuf>) -> Sqlite {
        self.settings.path = path.into();
        Sqlite { settings: self.settings, database: OnceLock::new() }
    }

    /// Builds a resource for a new, empty database in a temporary file. The file is removed when the resource and its
    /// last connection are dropped (if the process ends at that very moment, it is left to the system).
    ///
    /// Use it instead of SQLite's in-memory databases. Those have no write-ahead log, so their readers and writers wait
    /// for each other, and a test would not behave as in production.
    ///
    /// # Errors
    ///
    /// Returns an error if no temporary folder can be created.
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
