//! The state that all connections to one database file share in this process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use std::{fs, io, thread};

use parking_lot::Mutex;
use reqscope::context::AcquireContext;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// All databases by their canonical path, so that two resources for one file share one queue of writers.
static DATABASES: LazyLock<Mutex<HashMap<PathBuf, Weak<Database>>>> = LazyLock::new(Mutex::default);

/// The writers of one database, of which one has its turn.
struct Writers {
    turn: Arc<Semaphore>,
    /// `None` while no writer has its turn, and for a moment at its beginning and end.
    holder: Mutex<Option<Holder>>,
}

/// The writer that has its turn.
#[derive(Clone)]
pub(crate) struct Holder {
    /// `None` if the transaction was begun outside of any lease or scope.
    pub(crate) context: Option<AcquireContext>,
    pub(crate) since: Instant,
}

/// The permit to write, one per database. It is dropped where the transaction ends, on the connection's thread.
pub struct WriterPermit {
    writers: Arc<Writers>,
    /// Dropped after `WriterPermit::drop`, which would otherwise remove the next holder.
    _turn: OwnedSemaphorePermit,
}

/// A database file with its queue of writers.
pub(crate) struct Database {
    path: PathBuf,
    writers: Arc<Writers>,
    /// A connection that is never used. While it is open, no other connection is the last one to close. Otherwise every
    /// request would pay for a checkpoint, and for the removal and creation of the write-ahead log.
    keeper: Mutex<Option<Connection>>,
    /// The folder of a temporary database, removed on drop.
    folder: Option<TempDir>,
}

impl Database {
    /// Returns the database of a file that exists.
    pub(crate) fn of(path: &Path) -> Arc<Database> {
        // The file was opened a moment ago. If it was removed since, the path as given has to do.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut databases = DATABASES.lock();
        if let Some(database) = databases.get(&path).and_then(Weak::upgrade) {
            return database;
        }
        let database = Arc::new(Database::new(path.clone(), None));
        databases.insert(path, Arc::downgrade(&database));
        database
    }

    /// Creates a database in a folder of its own. Its path is not known elsewhere, so it is not in `DATABASES`.
    pub(crate) fn temporary() -> io::Result<Arc<Database>> {
        let folder = tempfile::Builder::new().prefix("reqscope-sqlite-").tempdir()?;
        Ok(Arc::new(Database::new(folder.path().join("temporary.db"), Some(folder))))
    }

    fn new(path: PathBuf, folder: Option<TempDir>) -> Self {
        let writers = Arc::new(Writers { turn: Arc::new(Semaphore::new(1)), holder: Mutex::new(None) });
        Database { path, writers, keeper: Mutex::new(None), folder }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the permit to write, in FIFO order.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Dropping the future leaves the queue, or passes on a permit that was just granted.
    pub(crate) async fn writer(&self) -> WriterPermit {
        let turn = Arc::clone(&self.writers.turn).acquire_owned().await.expect("this semaphore is never closed");
        self.permit(turn)
    }

    /// Returns the permit to write if it is free and no writer waits for it.
    pub(crate) fn try_writer(&self) -> Option<WriterPermit> {
        Some(self.permit(Arc::clone(&self.writers.turn).try_acquire_owned().ok()?))
    }

    fn permit(&self, turn: OwnedSemaphorePermit) -> WriterPermit {
        let holder = Holder { context: AcquireContext::current(), since: Instant::now() };
        *self.writers.holder.lock() = Some(holder);
        WriterPermit { writers: Arc::clone(&self.writers), _turn: turn }
    }

    /// Returns the writer that has its turn, for messages.
    pub(crate) fn holder(&self) -> Option<Holder> {
        self.writers.holder.lock().clone()
    }

    /// Returns whether a connection keeps the database open.
    pub(crate) fn has_keeper(&self) -> bool {
        self.keeper.lock().is_some()
    }

    /// Keeps this connection open as long as the database is used.
    pub(crate) fn keep(&self, connection: Connection) {
        let surplus = {
            let mut keeper = self.keeper.lock();
            if keeper.is_some() { Some(connection) } else { keeper.replace(connection) }
        };
        // Two threads may open the first two connections at once. Closing does I/O, so it must not happen under the
        // lock.
        drop(surplus);
    }
}

impl Drop for WriterPermit {
    fn drop(&mut self) {
        let holder = self.writers.holder.lock().take();
        // Its reaper may be the last one, and drop an observer, which is user code.
        drop(holder);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut databases = DATABASES.lock();
        // Another database of the same path may have been created since the last user of this one was dropped.
        if databases.get(&self.path).is_some_and(|database| database.strong_count() == 0) {
            databases.remove(&self.path);
        }
        drop(databases);
        let (keeper, folder) = (self.keeper.get_mut().take(), self.folder.take());
        if keeper.is_none() && folder.is_none() {
            return;
        }
        // The last close writes the log back into the file, and a drop must not wait for that. If no thread can be
        // started, the closure is dropped here, and the connection is closed in place.
        let closing = thread::Builder::new().name("reqscope-sqlite".to_owned()).spawn(move || {
            drop(keeper);
            drop(folder);
        });
        drop(closing);
    }
}
