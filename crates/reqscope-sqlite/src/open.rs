//! Opens a connection, on its own thread, where it may block.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqscope::Error;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::SqliteError;
use crate::database::Database;
use crate::signal::{Signal, limit_lock_wait, wait_for_lock};

/// The options of the builder.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    /// The database, known from the second connection on.
    pub(crate) database: Option<Arc<Database>>,
    pub(crate) read_only: bool,
    pub(crate) busy_timeout: Duration,
    pub(crate) statement_cache_capacity: usize,
    pub(crate) on_open: Option<OnOpen>,
}

pub(crate) type OnOpen = Arc<dyn Fn(&Connection) -> rusqlite::Result<()> + Send + Sync>;

/// How long `on_open` may wait for the lock to write, which its own request may hold. Other writers of this process queue
/// for a connection, and hold the lock for milliseconds.
const ON_OPEN_LOCK_WAIT: Duration = Duration::from_secs(1);

/// Opens a connection for the calling thread.
pub(crate) fn open(
    settings: &Settings,
    signal: &Arc<Signal>,
) -> Result<(Connection, Arc<Database>), Error<SqliteError>> {
    let path = &settings.path;
    let opening = || format!("opening {}", path.display());
    let (connection, database) = try_open(settings, signal).map_err(|error| failed(error, path, opening()))?;
    if let Some(on_open) = &settings.on_open {
        let limit = settings.busy_timeout.min(ON_OPEN_LOCK_WAIT);
        limit_lock_wait(limit);
        on_open(&connection).map_err(|error| {
            let is_locked = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
            let context = if is_locked { no_lock(path, limit) } else { opening() };
            failed(error, path, context)
        })?;
        limit_lock_wait(settings.busy_timeout);
    }
    Ok((connection, database))
}

fn failed(error: rusqlite::Error, path: &Path, context: String) -> Error<SqliteError> {
    let permanent = is_permanent(&error, path);
    let error = SqliteError::Sqlite(error);
    let error = if permanent { Error::permanent(error) } else { Error::failed(error) };
    error.with_context(context)
}

fn no_lock(path: &Path, limit: Duration) -> String {
    let path = path.display();
    format!(
        "on_open did not get the lock to write to {path} within {limit:?}, which the request that opens the connection \
         may hold itself: write at the start of the program"
    )
}

/// Opens a connection, and returns the error of SQLite.
fn try_open(settings: &Settings, signal: &Arc<Signal>) -> rusqlite::Result<(Connection, Arc<Database>)> {
    // The file exists as long as the keeper is open. If it does not, it was removed, and an empty one in its place
    // would look like a loss of all data.
    let exists = settings.database.as_ref().is_some_and(|database| database.has_keeper());
    let access = match (settings.read_only, exists) {
        (true, _) => OpenFlags::SQLITE_OPEN_READ_ONLY,
        (false, true) => OpenFlags::SQLITE_OPEN_READ_WRITE,
        (false, false) => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    // SQLite needs no mutex, because only this thread uses the connection.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&settings.path, flags)?;
    signal.attach(&connection, settings.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(settings.statement_cache_capacity);
    if !settings.read_only {
        // Without write access SQLite silently opens the file for reading only.
        if connection.is_readonly("main")? {
            return Err(failure(ffi::SQLITE_READONLY, "the file cannot be written"));
        }
        enable_wal(&connection)?;
    }
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON")?;

    let database = settings.database.clone().unwrap_or_else(|| Database::of(&settings.path));
    if !settings.read_only && !database.has_keeper() {
        let keeper = Connection::open_with_flags(&settings.path, flags)?;
        keeper.busy_handler(Some(wait_for_lock))?;
        // The first read opens the log. Only a connection with an open log keeps the log from being removed.
        keeper.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
        database.keep(keeper);
    }
    Ok((connection, database))
}

/// Switches the file to WAL mode, in which readers and one writer work side by side. The file stays in that mode.
fn enable_wal(connection: &Connection) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let problem = format!("WAL mode is not available here, only `{mode}`");
                return Err(failure(ffi::SQLITE_CANTOPEN, problem));
            }
            // Several connections switch a new file at once. SQLite does not call the busy handler in this case.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait_for_lock(tries) => {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Returns an error as SQLite would.
fn failure(code: i32, problem: impl Into<String>) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(problem.into()))
}

/// Returns whether another attempt would fail in the same way.
fn is_permanent(error: &rusqlite::Error, path: &Path) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::ReadOnly) => true,
        Some(ErrorCode::PermissionDenied) => true,
        Some(ErrorCode::CannotOpen) => !is_out_of_descriptors(path),
        _ => false,
    }
}

/// Returns whether the process has too many open files. SQLite returns `CannotOpen` in this case, and for a missing
/// folder as well.
///
/// Tries the folder and never the file: opening and closing a database file besides SQLite drops SQLite's locks.
fn is_out_of_descriptors(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let Err(error) = File::open(folder) else { return false };
    !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory)
}
