//! The thread of one connection: it opens the connection, runs its jobs one by one, and closes it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use reqscope::Error;
use reqscope::error::Stage;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::SqliteError;
use crate::database::{Database, WriterPermit};
use crate::open::{Settings, open};
use crate::signal::Signal;

/// A command of a handle to its thread. When the handle is dropped, the channel ends and the thread closes the
/// connection.
pub(crate) enum Command {
    Run(Job),
    Close(oneshot::Sender<Result<(), SqliteError>>),
}

/// Work for the thread.
pub(crate) type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A connection on its thread.
///
/// Without a call of `close`, its fields are dropped in this order: the connection, and then its permit.
pub(crate) struct Worker {
    connection: Connection,
    signal: Arc<Signal>,
    /// The permit stays with the transaction and is dropped when that has ended, even if its handle is gone by then
    /// (law L13).
    permit: Option<WriterPermit>,
}

/// The result of [`open`]: the database of the connection.
pub(crate) type Opened = Result<Arc<Database>, Error<SqliteError>>;

/// Runs the thread: opens the connection, and runs commands until the handle is dropped or closed.
pub(crate) fn run(
    settings: &Settings,
    signal: Arc<Signal>,
    opened: oneshot::Sender<Opened>,
    commands: &mpsc::Receiver<Command>,
) {
    // `open` calls the user's `on_open`, which may panic.
    let outcome = catch_unwind(AssertUnwindSafe(|| open(settings, &signal)))
        .unwrap_or_else(|payload| Err(Error::panicked(Stage::Acquiring, &*payload)));
    // This thread keeps the database, so that it outlives the connection.
    let (connection, database) = match outcome {
        Ok(opened) => opened,
        Err(error) => return drop(opened.send(Err(error))),
    };
    // If the receiver was dropped, so was the sender of the commands, and the loop ends at once.
    drop(opened.send(Ok(Arc::clone(&database))));
    let mut worker = Worker { connection, signal, permit: None };
    for command in commands {
        match command {
            Command::Run(job) => job(&mut worker),
            Command::Close(reply) => return drop(reply.send(worker.close())),
        }
    }
}

impl Worker {
    /// Creates a job that replies with the result of `run`.
    pub(crate) fn job<T: Send + 'static>(
        run: impl FnOnce(&mut Worker) -> Result<T, SqliteError> + Send + 'static,
        reply: oneshot::Sender<Result<T, SqliteError>>,
    ) -> Job {
        Box::new(move |worker| {
            let outcome = run(worker);
            let open = !worker.connection.is_autocommit();
            worker.signal.set_open(open);
            if !open {
                worker.permit = None;
            }
            // Last, so that everything else is done when the reply is received.
            drop(reply.send(outcome));
        })
    }

    /// Runs a user's closure, unless it was cancelled before it began.
    pub(crate) fn call<T>(
        &mut self,
        f: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SqliteError> {
        if self.signal.is_cancelled() {
            return Err(SqliteError::InDoubt);
        }
        if self.signal.is_guarded() && self.connection.is_autocommit() {
            return Err(SqliteError::RolledBack);
        }
        // A state that the closure left half changed is not observed: the handle is in doubt after a panic.
        match catch_unwind(AssertUnwindSafe(|| f(&mut self.connection))) {
            Ok(outcome) => Ok(outcome?),
            Err(payload) => Err(SqliteError::panicked(payload)),
        }
    }

    /// Begins a transaction, which may write if there is a permit, and only reads otherwise.
    pub(crate) fn begin(&mut self, permit: Option<WriterPermit>) -> Result<(), SqliteError> {
        if self.signal.is_cancelled() {
            return Err(SqliteError::InDoubt);
        }
        // Before the BEGIN: if that fails, no closure may run outside of a transaction.
        self.signal.guard(true);
        if permit.is_some() {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        } else {
            self.connection.execute_batch("BEGIN; PRAGMA query_only = ON")?;
        }
        self.permit = permit;
        Ok(())
    }

    /// Commits the transaction. Whatever the result, no transaction is open afterwards.
    pub(crate) fn commit(&mut self) -> Result<(), SqliteError> {
        if self.signal.is_cancelled() {
            return Err(SqliteError::InDoubt);
        }
        if self.connection.is_autocommit() {
            self.clean()?;
            return Err(SqliteError::RolledBack);
        }
        self.signal.guard(false);
        let outcome = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute(()));
        if outcome.is_err() {
            self.clean()?;
        }
        Ok(outcome.map(drop)?)
    }

    /// Prepares the connection for its next user: rolls back an open transaction, installs the hooks again, and reads
    /// from the file.
    pub(crate) fn clean(&mut self) -> Result<(), SqliteError> {
        self.signal.clear();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.signal.guard(false);
        self.signal.hook(&self.connection)?;
        self.connection.execute_batch("PRAGMA query_only = OFF")?;
        self.connection.query_row("PRAGMA schema_version", (), |_| Ok(()))?;
        Ok(())
    }

    /// Closes the connection, and then drops its permit.
    fn close(self) -> Result<(), SqliteError> {
        let Worker { connection, signal: _, permit } = self;
        let outcome = connection.close().map_err(|(_, error)| error);
        drop(permit);
        Ok(outcome?)
    }
}
