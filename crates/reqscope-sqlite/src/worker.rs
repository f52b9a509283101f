//! The thread of one connection: it opens, runs one job after the other, and closes.

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

/// What a handle tells its thread. When it has no more to say, because it was dropped, the thread closes.
pub(crate) enum Order {
    Run(Job),
    Close(oneshot::Sender<Result<(), SqliteError>>),
}

pub(crate) type Job = Box<dyn FnOnce(&mut Worker) + Send>;

// Where nobody calls `close` the fields are dropped in this order: the connection, and then its permit.
pub(crate) struct Worker {
    connection: Connection,
    signal: Arc<Signal>,
    /// The permit is where the transaction is, and leaves when that has ended, whoever is gone by then (law L13).
    permit: Option<WriterPermit>,
}

/// What came of [`open`]: the connection's database, or why there is no connection.
pub(crate) type Opened = Result<Arc<Database>, Error<SqliteError>>;

/// The life of the thread.
pub(crate) fn live(
    settings: &Settings,
    signal: Arc<Signal>,
    opened: oneshot::Sender<Opened>,
    orders: &mpsc::Receiver<Order>,
) {
    // The user's `on_open` runs in there.
    let outcome = catch_unwind(AssertUnwindSafe(|| open(settings, &signal)))
        .unwrap_or_else(|payload| Err(Error::panicked(Stage::Acquiring, &*payload)));
    // The database is ours, too, so that it outlives the connection.
    let (connection, database) = match outcome {
        Ok(opened) => opened,
        Err(error) => return drop(opened.send(Err(error))),
    };
    // If nobody waits any more, nobody has the other end of the orders either.
    drop(opened.send(Ok(Arc::clone(&database))));
    let mut worker = Worker { connection, signal, permit: None };
    for order in orders {
        match order {
            Order::Run(job) => job(&mut worker),
            Order::Close(answer) => return drop(answer.send(worker.close())),
        }
    }
}

impl Worker {
    /// A job that answers.
    pub(crate) fn job<T: Send + 'static>(
        run: impl FnOnce(&mut Worker) -> Result<T, SqliteError> + Send + 'static,
        answer: oneshot::Sender<Result<T, SqliteError>>,
    ) -> Job {
        Box::new(move |worker| {
            let outcome = run(worker);
            let open = !worker.connection.is_autocommit();
            worker.signal.set_open(open);
            if !open {
                worker.permit = None;
            }
            // Last, so that whoever hears the answer finds everything else done.
            drop(answer.send(outcome));
        })
    }

    /// Runs a user's closure, unless its handle has left before it began.
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
        // Whatever the closure has half done stays in here: the handle is in doubt after a panic.
        match catch_unwind(AssertUnwindSafe(|| f(&mut self.connection))) {
            Ok(outcome) => Ok(outcome?),
            Err(payload) => Err(SqliteError::panicked(payload)),
        }
    }

    /// Begins a transaction: one that writes if there is a permit, else one that reads.
    pub(crate) fn begin(&mut self, permit: Option<WriterPermit>) -> Result<(), SqliteError> {
        if self.signal.is_cancelled() {
            return Err(SqliteError::InDoubt);
        }
        if permit.is_some() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        } else {
            self.connection.execute_batch("BEGIN; PRAGMA query_only = ON")?;
        }
        self.signal.guard(true);
        self.permit = permit;
        Ok(())
    }

    /// Commits. Whatever the answer, no transaction is open afterwards.
    pub(crate) fn commit(&mut self) -> Result<(), SqliteError> {
        if self.signal.is_cancelled() {
            return Err(SqliteError::InDoubt);
        }
        if self.connection.is_autocommit() {
            self.clean()?;
            return Err(SqliteError::RolledBack);
        }
        self.signal.guard(false);
        let outcome = self.connection.execute_batch("COMMIT");
        if outcome.is_err() {
            self.clean()?;
        }
        Ok(outcome?)
    }

    /// Makes the connection as good as new, or says why it cannot: no transaction, our hooks, a file that answers.
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

    fn close(self) -> Result<(), SqliteError> {
        let Worker { connection, signal: _, permit } = self;
        let outcome = connection.close().map_err(|(_, error)| error);
        drop(permit);
        Ok(outcome?)
    }
}
