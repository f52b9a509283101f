use std::sync::{Arc, mpsc};
use std::thread;

use reqscope::{Error, Health};
use reqscope_driver::Flight;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::SqliteError;
use crate::database::{Database, WriterPermit};
use crate::open::Settings;
use crate::reply::reply;
use crate::signal::Signal;
use crate::worker::{self, Command, Worker};

/// A connection to an SQLite database, on a thread of its own: the handle of [`Sqlite`](crate::Sqlite).
///
/// SQLite blocks, so it must not run on a thread of the async runtime. Work is sent to the thread as a closure, with
/// [`call`](SqliteConn::call). The thread needs no runtime.
///
/// A `SqliteConn` records whether an operation was cut in the middle. After that it refuses further work, and
/// [`probe`](reqscope::Resource::probe) returns [`Dead`](Health::Dead), until
/// [`validate`](reqscope::Resource::validate) has succeeded. So that this cannot be bypassed, the
/// [`rusqlite::Connection`] is accessible only in `call`, and this type does not deref to it.
///
/// Dropping a `SqliteConn` never blocks: running work is cancelled, and the thread closes the connection.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope_sqlite::{Sqlite, SqliteConn};
/// # use reqscope::Lease;
/// # use std::sync::Arc;
///
/// # let sqlite = Arc::new(Sqlite::temporary().unwrap());
/// # let mut lease = Lease::acquire(&sqlite).await.unwrap();
/// let conn: &mut SqliteConn = &mut lease;
/// let seven: i64 = conn.call(|db| db.query_row("SELECT 3 + 4", (), |row| row.get(0))).await.unwrap();
/// assert_eq!(seven, 7);
/// # Lease::complete(lease).await.unwrap();
/// # });
/// ```
pub struct SqliteConn {
    commands: mpsc::Sender<Command>,
    signal: Arc<Signal>,
    database: Arc<Database>,
    /// The job that runs, or was cut or has panicked.
    flight: Flight,
    /// A transaction that begins with the next job, because a hop to the thread takes longer than the BEGIN. Its permit
    /// to write, if it may.
    begins: Option<Option<WriterPermit>>,
    /// The connection is not used again.
    is_condemned: bool,
}

impl SqliteConn {
    /// Opens a connection on a new thread.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the thread stops opening at the next check of the signal, and closes what it has opened.
    pub(crate) async fn open(settings: Settings) -> Result<SqliteConn, Error<SqliteError>> {
        let (commands, queue) = mpsc::channel();
        let (opened, replied) = oneshot::channel();
        let signal = Arc::new(Signal::default());
        let shared = Arc::clone(&signal);
        thread::Builder::new()
            .name("reqscope-sqlite".to_owned())
            .spawn(move || worker::run(&settings, shared, opened, &queue))
            .map_err(SqliteError::Thread)?;
        // If this is dropped here, the guard stops the thread, and its channel of commands ends.
        let guard = CancelOnDrop(Some(&signal));
        let database = reply(replied).await;
        guard.disarm();
        let database = database.map_err(|_gone| SqliteError::ThreadGone)??;
        Ok(SqliteConn { commands, signal, database, flight: Flight::new(), begins: None, is_condemned: false })
    }

    /// Runs `f` on the connection's thread and waits for its result.
    ///
    /// Put statements that belong together into one closure: they run without a pause in between, and cost one hop to
    /// the thread and back. Return an error of your own as `Ok(Err(error))`, and take it out again with `??`; see the
    /// second example.
    ///
    /// `f` may change the connection, except for the busy handler, the progress handler and the commit hook, which stop
    /// cancelled statements and guard transactions. It must not replace the connection by another one. Inside a
    /// [`Transaction`](crate::Transaction) use [`savepoint`](rusqlite::Connection::savepoint): the outermost
    /// transaction is ended only by its release, and a `COMMIT` in `f` is turned into a rollback.
    ///
    /// # Errors
    ///
    /// - [`Sqlite`](SqliteError::Sqlite): the error that `f` returned.
    /// - [`Panicked`](SqliteError::Panicked): `f` panicked. The connection is still open, but in doubt from now on.
    /// - [`InDoubt`](SqliteError::InDoubt): an earlier call was cut or panicked; `f` did not run.
    /// - [`RolledBack`](SqliteError::RolledBack): the transaction around it is no longer open; `f` did not run.
    /// - [`ThreadGone`](SqliteError::ThreadGone): a destructor of one of your values panicked on the thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the work: a statement is interrupted and a wait for a lock ends, both within
    /// milliseconds. (A closure that computes, sleeps or waits without SQLite runs to its end.) It is unknown what the
    /// closure had done by then, so the connection is in doubt: it refuses further calls, a transaction around it
    /// cannot be committed, and its scope fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope::Lease;
    /// use reqscope_sqlite::{Sqlite, SqliteConn, SqliteError};
    /// use std::sync::Arc;
    ///
    /// async fn count(conn: &mut SqliteConn, word: &'static str) -> Result<i64, SqliteError> {
    ///     conn.call(move |db| {
    ///         db.query_row("SELECT count(*) FROM sqlite_schema WHERE name = ?1", [word], |row| row.get(0))
    ///     })
    ///     .await
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///
    /// let sqlite = Arc::new(Sqlite::temporary()?);
    /// let mut conn = Lease::acquire(&sqlite).await?;
    /// assert_eq!(count(&mut conn, "orders").await?, 0);
    /// Lease::complete(conn).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A closure that decides. In it `?` is for SQLite's errors; after it, the first `?` is for those of the call, and
    /// the second for the decision:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::Lease;
    /// use reqscope_sqlite::{Sqlite, SqliteConn, SqliteError};
    /// # use std::sync::Arc;
    ///
    /// #[derive(Debug)]
    /// enum OrderError {
    ///     OutOfStock,
    ///     Database(SqliteError),
    /// }
    ///
    /// impl From<SqliteError> for OrderError {
    ///     fn from(error: SqliteError) -> Self {
    ///         OrderError::Database(error)
    ///     }
    /// }
    ///
    /// async fn take(conn: &mut SqliteConn, wanted: u32) -> Result<(), OrderError> {
    ///     conn.call(move |db| {
    ///         let stock: u32 = db.query_row("SELECT stock FROM products", (), |row| row.get(0))?;
    ///         if stock < wanted {
    ///             return Ok(Err(OrderError::OutOfStock));
    ///         }
    ///         db.execute("UPDATE products SET stock = ?1", [stock - wanted])?;
    ///         Ok(Ok(()))
    ///     })
    ///     .await??;
    ///     Ok(())
    /// }
    /// # let sqlite = Arc::new(Sqlite::temporary().unwrap());
    /// # let mut conn = Lease::acquire(&sqlite).await.unwrap();
    /// # let products = "CREATE TABLE products (stock INTEGER); INSERT INTO products VALUES (3)";
    /// # conn.call(move |db| db.execute_batch(products)).await.unwrap();
    /// # take(&mut conn, 2).await.unwrap();
    /// # assert!(matches!(take(&mut conn, 2).await, Err(OrderError::OutOfStock)));
    /// # Lease::complete(conn).await.unwrap();
    /// # });
    /// ```
    pub async fn call<T, F>(&mut self, f: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        if !self.is_idle() {
            return Err(SqliteError::InDoubt);
        }
        let begins = self.begins.take();
        let job = move |worker: &mut Worker| {
            begins.map_or(Ok(()), |permit| worker.begin(permit))?;
            worker.call(f)
        };
        let outcome = self.run(job).await;
        if matches!(outcome, Err(SqliteError::Panicked(_))) {
            self.doubt();
        }
        outcome
    }

    /// Begins a transaction with the next call. It may write if there is a permit.
    pub(crate) fn begin(&mut self, permit: Option<WriterPermit>) -> Result<(), SqliteError> {
        if !self.is_idle() {
            return Err(SqliteError::InDoubt);
        }
        self.begins = Some(permit);
        Ok(())
    }

    /// Commits the transaction.
    pub(crate) async fn commit(&mut self) -> Result<(), SqliteError> {
        if !self.is_idle() {
            return Err(SqliteError::InDoubt);
        }
        if self.begins.take().is_some() {
            // Nothing was done in it.
            return Ok(());
        }
        self.run(Worker::commit).await
    }

    /// Waits until the thread has left a cut closure, rolls back an open transaction, and checks that the connection
    /// works.
    pub(crate) async fn clean(&mut self) -> Result<(), SqliteError> {
        self.begins = None;
        self.stop();
        let outcome = self.run(Worker::clean).await;
        match outcome {
            Ok(()) => self.flight.reset(),
            Err(_) => self.doubt(),
        }
        outcome
    }

    /// Makes sure that the connection is not used again.
    pub(crate) fn condemn(&mut self) {
        self.is_condemned = true;
    }

    /// Leaves the connection in doubt, as a job does that was cut.
    fn doubt(&mut self) {
        drop(self.flight.mark());
    }

    /// Closes the connection, and waits until it is closed.
    pub(crate) async fn close(self) -> Result<(), SqliteError> {
        self.stop();
        let (closed, replied) = oneshot::channel();
        self.commands.send(Command::Close(closed)).map_err(|_gone| SqliteError::ThreadGone)?;
        // If this is dropped here, the thread has its command already.
        reply(replied).await.map_err(|_gone| SqliteError::ThreadGone)?
    }

    /// Returns whether no job runs and none was cut.
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_clear() && !self.is_condemned
    }

    /// Returns whether the last job left a transaction open, or the next one begins one.
    pub(crate) fn has_transaction(&self) -> bool {
        self.begins.is_some() || self.signal.is_open()
    }

    /// Returns the database of this connection.
    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Sends a job to the thread and waits for its reply.
    async fn run<T, F>(&mut self, run: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T, SqliteError> + Send + 'static,
    {
        let (answer, replied) = oneshot::channel();
        // Set before the job is sent, so that it is there even if this future is forgotten and never dropped.
        let mark = self.flight.mark();
        let job = CancelOnDrop(Some(&self.signal));
        let sent = self.commands.send(Command::Run(Worker::job(run, answer)));
        sent.map_err(|_gone| SqliteError::ThreadGone)?;
        // If this is dropped here, `job` cancels it.
        let outcome = reply(replied).await.map_err(|_gone| SqliteError::ThreadGone)?;
        job.disarm();
        mark.clear();
        outcome
    }

    /// Cancels a job that still runs, because its future was forgotten.
    fn stop(&self) {
        if !self.flight.is_clear() {
            self.signal.cancel();
        }
    }
}

/// A [`Transaction`](crate::Transaction) wraps any handle that is a connection or contains one, such as a pooled one.
impl AsRef<SqliteConn> for SqliteConn {
    fn as_ref(&self) -> &SqliteConn {
        self
    }
}

impl AsMut<SqliteConn> for SqliteConn {
    fn as_mut(&mut self) -> &mut SqliteConn {
        self
    }
}

impl Drop for SqliteConn {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for SqliteConn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let health = if self.is_idle() { Health::Ready } else { Health::Dead };
        f.debug_struct("SqliteConn").field("database", &self.database.path()).field("health", &health).finish()
    }
}

/// Cancels a job, or the opening of a connection, if it is dropped before the reply was received.
struct CancelOnDrop<'signal>(Option<&'signal Signal>);

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(signal) = self.0 {
            signal.cancel();
        }
    }
}
