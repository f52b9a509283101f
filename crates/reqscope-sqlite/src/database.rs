//! What all connections to one database file in this process have in common.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};
use std::{fs, io, thread};

use parking_lot::Mutex;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// By the path as the file system spells it: two resources of one file are one queue of writers.
static DATABASES: LazyLock<Mutex<HashMap<PathBuf, Weak<Database>>>> = LazyLock::new(Mutex::default);

/// The right to write, one per database. It is dropped where the transaction ends: on the connection's thread.
pub(crate) type WriterPermit = OwnedSemaphorePermit;

pub(crate) struct Database {
    path: PathBuf,
    writer: Arc<Semaphore>,
    /// A connection that is never used. While it is open no other is the last one to close, which would make every
    /// request pay for a checkpoint, for the removal of the write-ahead log, and for making it anew.
    keeper: Mutex<Option<Connection>>,
    /// Goes when the last user has gone.
    folder: Option<TempDir>,
}

impl Database {
    /// The database of a file that exists.
    pub(crate) fn of(path: &Path) -> Arc<Database> {
        // It was opened a moment ago. If it is gone already, the name that was given has to do.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut databases = DATABASES.lock();
        if let Some(database) = databases.get(&path).and_then(Weak::upgrade) {
            return database;
        }
        let database = Arc::new(Database::new(path.clone(), None));
        databases.insert(path, Arc::downgrade(&database));
        database
    }

    /// A new database in a folder of its own. Nobody else knows the path, so it is in no register.
    pub(crate) fn temporary() -> io::Result<Arc<Database>> {
        let folder = tempfile::Builder::new().prefix("reqscope-sqlite-").tempdir()?;
        Ok(Arc::new(Database::new(folder.path().join("temporary.db"), Some(folder))))
    }

    fn new(path: PathBuf, folder: Option<TempDir>) -> Self {
        Database { path, writer: Arc::new(Semaphore::new(1)), keeper: Mutex::new(None), folder }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the right to write, first come first served.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue, or passes the permit on if it was just granted.
    pub(crate) async fn writer(&self) -> WriterPermit {
        Arc::clone(&self.writer).acquire_owned().await.expect("nobody closes this semaphore")
    }

    /// The right to write if nobody has it or waits for it.
    pub(crate) fn try_writer(&self) -> Option<WriterPermit> {
        Arc::clone(&self.writer).try_acquire_owned().ok()
    }

    pub(crate) fn has_keeper(&self) -> bool {
        self.keeper.lock().is_some()
    }

    /// Keeps the database open until the last of its users has gone.
    pub(crate) fn keep(&self, connection: Connection) {
        let surplus = {
            let mut keeper = self.keeper.lock();
            if keeper.is_some() { Some(connection) } else { keeper.replace(connection) }
        };
        // Two threads may open the first two connections at once. Closing does I/O, so not under the lock.
        drop(surplus);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut databases = DATABASES.lock();
        // Another one of the same path may have been made since the last user of this one went.
        if databases.get(&self.path).is_some_and(|database| database.strong_count() == 0) {
            databases.remove(&self.path);
        }
        drop(databases);
        let (keeper, folder) = (self.keeper.get_mut().take(), self.folder.take());
        if keeper.is_none() && folder.is_none() {
            return;
        }
        // The last close writes the log back into the file, and a drop must not wait for that. Where no thread can
        // be had the closure is dropped here, and with it the connection, in place.
        let closing = thread::Builder::new().name("reqscope-sqlite".to_owned()).spawn(move || {
            drop(keeper);
            drop(folder);
        });
        drop(closing);
    }
}
