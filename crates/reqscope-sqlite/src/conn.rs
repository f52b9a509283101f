use std::sync::{Arc, mpsc};
use std::thread;

use reqscope::{Error, Health};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::SqliteError;
use crate::database::{Database, WriterPermit};
use crate::open::Settings;
use crate::signal::Signal;
use crate::worker::{Order, Worker, live};

/// A connection to an SQLite database, on a thread of its own: the handle of [`Sqlite`](crate::Sqlite).
///
/// SQLite blocks, so it must not run on a thread of the async runtime. Work is sent over as a closure, with
/// [`call`](SqliteConn::call), and needs no runtime on the other side.
///
/// It knows whether an operation was cut in the middle. Such a connection refuses further work and is
/// [`Dead`](Health::Dead) to [`probe`](reqscope::Resource::probe) until [`validate`](reqscope::Resource::validate) has
/// proved it. There is no way around that to the [`rusqlite::Connection`], which is why this type does not deref to it.
///
/// Dropping it never blocks: what still runs is told to stop, and the thread closes the connection.
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
    orders: mpsc::Sender<Order>,
    signal: Arc<Signal>,
    database: Arc<Database>,
    state: State,
}

/// ```text
///            call, begin, commit           answered
///   Idle ────────────────────────► Running ────────► Idle
///    ▲                               │ the future is dropped, or the answer is a panic
///    │            clean              ▼
///    └─────────────────────────── InDoubt
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Running,
    InDoubt,
}

impl SqliteConn {
    /// # Cancel safety
    ///
    /// The thread that is opening stops at its next look at the signal, finds that nobody is left, and closes.
    pub(crate) async fn open(settings: Settings) -> Result<SqliteConn, Error<SqliteError>> {
        let (orders, queue) = mpsc::channel();
        let (opened, answer) = oneshot::channel();
        let signal = Arc::new(Signal::default());
        let theirs = Arc::clone(&signal);
        thread::Builder::new()
            .name("reqscope-sqlite".to_owned())
            .spawn(move || live(&settings, theirs, opened, &queue))
            .map_err(SqliteError::Thread)?;
        // Dropped here, this guard stops the thread, and `orders` goes with us.
        let leaving = CancelOnDrop(Some(&signal));
        let database = answer.await;
        leaving.stay();
        let database = database.map_err(|_gone| SqliteError::ThreadGone)??;
        Ok(SqliteConn { orders, signal, database, state: State::Idle })
    }

    /// Runs `f` on the connection's thread and waits for what it returns.
    ///
    /// All that belongs together goes into one closure: it runs without a pause in between, and costs one hop to the
    /// thread and back. An error of your own travels as `Ok(Err(error))`.
    ///
    /// `f` may set up the connection as it likes, with three exceptions: the busy handler, the progress handler and
    /// the commit hook are what stops a cancelled statement and guards a transaction. Nor may it put another connection
    /// in this one's place. Inside a
    /// [`Transaction`](crate::Transaction) use [`savepoint`](rusqlite::Connection::savepoint): its outermost
    /// transaction is ended by its release and by nobody else, and a `COMMIT` in `f` is turned into a rollback.
    ///
    /// # Errors
    ///
    /// - [`Sqlite`](SqliteError::Sqlite): what `f` returned.
    /// - [`Panicked`](SqliteError::Panicked): `f` panicked. The connection lives, but is in doubt from now on.
    /// - [`InDoubt`](SqliteError::InDoubt): an earlier call was cut or panicked; `f` did not run.
    /// - [`RolledBack`](SqliteError::RolledBack): the transaction around it is gone; `f` did not run.
    /// - [`ThreadGone`](SqliteError::ThreadGone): a destructor of yours panicked on the thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the work: a statement is interrupted and a wait for a lock ends, both within
    /// milliseconds. (A closure that computes, sleeps or waits without SQLite runs on to its end.) What it had done by
    /// then is unknown, so the connection is in doubt: it takes no further calls, a transaction around it cannot be
    /// committed, and a scope that it belongs to fails.
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
    pub async fn call<T, F>(&mut self, f: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        if self.state != State::Idle {
            return Err(SqliteError::InDoubt);
        }
        let outcome = self.run(move |worker| worker.call(f)).await;
        if matches!(outcome, Err(SqliteError::Panicked(_))) {
            self.state = State::InDoubt;
        }
        outcome
    }

    pub(crate) async fn begin(&mut self, permit: Option<WriterPermit>) -> Result<(), SqliteError> {
        if self.state != State::Idle {
            return Err(SqliteError::InDoubt);
        }
        self.run(move |worker| worker.begin(permit)).await
    }

    pub(crate) async fn commit(&mut self) -> Result<(), SqliteError> {
        if self.state != State::Idle {
            self.clean().await?;
            return Err(SqliteError::InDoubt);
        }
        self.run(Worker::commit).await
    }

    /// Waits until the thread has left what it was doing, rolls back what it left open, and proves that it works.
    pub(crate) async fn clean(&mut self) -> Result<(), SqliteError> {
        self.stop();
        let outcome = self.run(Worker::clean).await;
        if outcome.is_err() {
            self.state = State::InDoubt;
        }
        outcome
    }

    /// Closes, and waits until that is done.
    pub(crate) async fn close(mut self) -> Result<(), SqliteError> {
        self.stop();
        let (answer, closed) = oneshot::channel();
        self.orders.send(Order::Close(answer)).map_err(|_gone| SqliteError::ThreadGone)?;
        // Dropped here: the thread has its order.
        closed.await.map_err(|_gone| SqliteError::ThreadGone)?
    }

    /// Nothing runs and nothing was cut.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    pub(crate) fn has_transaction(&self) -> bool {
        self.signal.is_open()
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    async fn run<T, F>(&mut self, run: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T, SqliteError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        // Before the job is sent: a future that is forgotten and never dropped leaves the mark, too.
        self.state = State::Running;
        let running = Running(self);
        let sent = running.0.orders.send(Order::Run(Worker::job(run, answer)));
        sent.map_err(|_gone| SqliteError::ThreadGone)?;
        // Dropped here: the thread has the job, and `running` tells it to stop.
        let outcome = answered.await.map_err(|_gone| SqliteError::ThreadGone)?;
        running.0.state = State::Idle;
        outcome
    }

    /// Stops a job whose future was forgotten, so that nobody has told it to stop.
    fn stop(&mut self) {
        if self.state == State::Running {
            self.state = State::InDoubt;
            self.signal.cancel();
        }
    }
}

/// A handle that is a connection, or has one inside as a pooled one does, is what a
/// [`Transaction`](crate::Transaction) goes around.
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

/// A job that runs for as long as nobody has heard its answer.
struct Running<'conn>(&'conn mut SqliteConn);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// While a connection is being opened there is no handle yet that would do it.
struct CancelOnDrop<'signal>(Option<&'signal Signal>);

impl CancelOnDrop<'_> {
    fn stay(mut self) {
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
