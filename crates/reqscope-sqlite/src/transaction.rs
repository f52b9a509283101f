use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use reqscope::context::AcquireContext;
use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Lease, Resource};
use tokio::time::Instant;

use crate::database::{Database, Holder, WriterPermit};
use crate::{SqliteConn, SqliteError};

/// How long before the end of its acquisition a writer may leave the queue, because it begins to wait a moment after the
/// acquisition has begun. Otherwise the error would be that of the acquisition, which cannot name the holder.
const AHEAD: Duration = Duration::from_millis(10);

/// A resource of transactions, around any resource of SQLite connections, bare or pooled: `acquire` begins a
/// transaction and `release` ends it.
///
/// A transaction is committed on [`Exit::Completed`] and rolled back on any other exit. In a scope, all functions that
/// handle the request work in the same transaction, and a front end answers only after the commit.
///
/// # Writers queue
///
/// SQLite has one writer at a time. A transaction of [`Transaction::new`] waits for its turn in a FIFO queue *before*
/// it takes a connection, and begins with `BEGIN IMMEDIATE`. So a waiting writer costs neither a connection nor a
/// thread, and no writer fails with `SQLITE_BUSY` because of another one in this process. There is one queue per
/// database file, however many resources use the file. The next writer's turn begins when the transaction before it has
/// ended; if a client disconnects, that is when the rollback is done, not when the client has left.
///
/// Create one `Transaction` per database and share it: a new one first has to acquire a connection to find its queue.
/// Do not acquire two writing transactions of one database in one scope: they would wait for each other until the
/// deadline.
///
/// A writer waits for its turn until its acquisition times out
/// ([`acquire_timeout`](reqscope::scope::ScopesBuilder::acquire_timeout), 60 s by default), or until the deadline of its
/// request. The error says how long it has waited, and which request has the turn: its label, how long it has had it, and
/// the line of code that began its transaction. Under [`ResourceExt::timeout`](reqscope::ResourceExt::timeout), whose
/// timeout the transaction does not know, the error names neither.
///
/// # Readers do not wait
///
/// A transaction of [`Transaction::read_only`] sees the database as of its first read until it ends, whatever is
/// written meanwhile. It waits for no writer, and no writer waits for it. A write in it fails.
///
/// # No partial commits
///
/// A transaction cannot be committed after a statement was cut by a timeout, after a closure panicked, or after SQLite
/// rolled it back by itself (a full disk). The handle refuses further work, and `Completed` becomes an error. A
/// `COMMIT` in a closure is turned into a rollback, and returns "constraint failed" with the extended code 531
/// (`SQLITE_CONSTRAINT_COMMITHOOK`).
///
/// # Right and wrong stacks
///
/// Put the `Transaction` around a [`Pool`](reqscope::Pool), so that each request begins its own transaction, on a
/// connection that may have been used before. A pool around transactions would hand the transaction of one request to
/// the next, and never commit it, so to build one panics, as does a [`Shared`](reqscope::Shared).
///
/// ```
/// use reqscope::Pool;
/// use reqscope_sqlite::{Sqlite, Transaction};
/// use std::sync::Arc;
///
/// let pool = Arc::new(Pool::builder().max_size(10).build(Sqlite::new("app.db")));
/// let writing = Arc::new(Transaction::new(pool.clone()));
/// let reading = Arc::new(Transaction::read_only(pool.clone()));
/// ```
///
/// The connection is returned when its transaction has ended. If a statement was cut, the statement is stopped and the
/// connection closed, and the connection holds its slot until then. A request that holds a connection and also acquires
/// a transaction checks out two connections; if the pool has only one, the request waits for itself, and the error of
/// the timeout says so. Use the connection of the transaction instead.
///
/// # Examples
///
/// ```
/// use reqscope::{Exit, Scopes};
/// use reqscope_sqlite::{Sqlite, SqliteConn, SqliteError, Transaction};
/// use std::sync::Arc;
///
/// async fn hit(db: &mut SqliteConn) -> Result<usize, SqliteError> {
///     db.call(|db| db.execute("INSERT INTO hits VALUES ('/')", ())).await
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
///
/// let table = "CREATE TABLE IF NOT EXISTS hits (path TEXT NOT NULL)";
/// let sqlite = Arc::new(Sqlite::builder().on_open(move |db| db.execute_batch(table)).build_temporary()?);
/// let writing = Arc::new(Transaction::new(sqlite.clone()));
/// let reading = Arc::new(Transaction::read_only(sqlite));
///
/// let scopes = Scopes::new();
/// for exit in [Exit::Completed, Exit::Failed] {
///     let scope = scopes.open();
///     hit(&mut *scope.lazy(&writing).get().await?).await?;
///     scope.close(exit).await?; // COMMIT, then ROLLBACK
/// }
///
/// let scope = scopes.open();
/// let mut tx = scope.lazy(&reading).get().await?;
/// let hits: i64 = tx.call(|db| db.query_row("SELECT count(*) FROM hits", (), |row| row.get(0))).await?;
/// assert_eq!(hits, 1);
/// # Ok(())
/// # }
/// ```
pub struct Transaction<P> {
    connections: Arc<P>,
    mode: Mode,
    /// The database whose queue to wait in. It is known only from a connection, so the first acquisition sets it.
    database: OnceLock<Arc<Database>>,
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Write,
    Read,
}

impl<P> Transaction<P> {
    /// Creates transactions that may write.
    pub fn new(connections: Arc<P>) -> Self {
        Transaction { connections, mode: Mode::Write, database: OnceLock::new() }
    }

    /// Creates transactions that only read.
    pub fn read_only(connections: Arc<P>) -> Self {
        Transaction { connections, mode: Mode::Read, database: OnceLock::new() }
    }

    /// Returns the resource that the connections come from.
    ///
    /// ```
    /// use reqscope_sqlite::{Sqlite, Transaction};
    /// use std::{path::Path, sync::Arc};
    ///
    /// let writing = Transaction::new(Arc::new(Sqlite::new("app.db")));
    /// assert_eq!(writing.get_ref().path(), Path::new("app.db"));
    /// ```
    pub fn get_ref(&self) -> &Arc<P> {
        &self.connections
    }
}

impl<P> Transaction<P>
where
    P: Resource<Handle: AsRef<SqliteConn> + AsMut<SqliteConn>, Cause = SqliteError>,
{
    /// Waits for the turn to write, and then acquires a connection.
    async fn writer(
        &self,
        caller: &'static Location<'static>,
    ) -> Result<(WriterPermit, Lease<P>), Error<SqliteError>> {
        let began = Instant::now();
        let database = match self.database.get() {
            Some(database) => database,
            None => {
                let lease = Lease::acquire_from(&self.connections, caller).await?;
                let database = self.database.get_or_init(|| Arc::clone(lease.as_ref().database()));
                if let Some(permit) = database.try_writer() {
                    return Ok((permit, lease));
                }
                // Another transaction is writing: return the connection and wait in the queue.
                Lease::complete(lease).await?;
                database
            }
        };
        // If this is dropped here, it leaves the queue; if it is dropped later, the permit goes to the next writer.
        let permit = match database.try_writer() {
            Some(permit) => permit,
            None => wait_for_turn(database, began).await?,
        };
        let lease = Lease::acquire_from(&self.connections, caller).await?;
        if !Arc::ptr_eq(database, lease.as_ref().database()) {
            Lease::complete(lease).await?;
            return Err(Error::permanent(SqliteError::OtherDatabase));
        }
        Ok((permit, lease))
    }
}

/// Waits for the turn to write until the acquisition that `began` then has to end. It keeps no timer: at its deadline, an
/// acquisition is polled once more.
async fn wait_for_turn(database: &Database, began: Instant) -> Result<WriterPermit, Error<SqliteError>> {
    let context = AcquireContext::current();
    let end = context.as_ref().and_then(|context| {
        let timeout = context.acquire_timeout();
        let request = context.deadline().map(Instant::from_std);
        let end = began.checked_add(timeout).into_iter().chain(request).min()?;
        end.checked_sub(AHEAD.min(timeout / 10))
    });
    let mut turn = pin!(database.writer());
    poll_fn(|cx| match turn.as_mut().poll(cx) {
        Poll::Ready(permit) => Poll::Ready(Ok(permit)),
        Poll::Pending if end.is_some_and(|end| Instant::now() >= end) => {
            Poll::Ready(Err(waited_too_long(database, context.as_ref(), began.elapsed())))
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cold]
fn waited_too_long(database: &Database, own: Option<&AcquireContext>, waited: Duration) -> Error<SqliteError> {
    let error = Error::timeout(Stage::Waiting, waited);
    let turn = format!("the turn to write to {}", database.path().display());
    let Some(Holder { context, since }) = database.holder() else {
        return error.with_context(format!("another transaction had {turn}"));
    };
    let held = since.elapsed().as_secs_f64();
    let is_own = context.as_ref().zip(own).is_some_and(|(holder, own)| holder.is_same_scope(own));
    let label = context.as_ref().and_then(AcquireContext::label);
    let message = match label {
        _ if is_own => {
            format!("this request itself has had {turn} for {held:.1} s: write in one transaction per request")
        }
        Some(label) => format!("{label} has had {turn} for {held:.1} s"),
        None => format!("another transaction has had {turn} for {held:.1} s"),
    };
    match context {
        Some(holder) => error.with_context(message).with_holder(holder.taken_at()),
        None => error.with_context(message),
    }
}

impl<P> Resource for Transaction<P>
where
    P: Resource<Handle: AsRef<SqliteConn> + AsMut<SqliteConn>, Cause = SqliteError>,
{
    type Handle = OpenTransaction<P>;
    type Cause = SqliteError;

    /// Waits for the turn to write, acquires a connection, and begins a transaction.
    ///
    /// # Errors
    ///
    /// Returns the error of the connections' resource, or `SQLITE_BUSY` if another process writes for too long. A timeout
    /// of the queue has the [stage](Error::stage) `Waiting`, and its [`holder`](Error::holder) is the line of code that
    /// has the turn.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future leaves the queue. A BEGIN that waits for another process is stopped, and the
    /// connection is released with [`Exit::Cancelled`].
    #[track_caller]
    fn acquire(&self) -> impl Future<Output = Result<OpenTransaction<P>, Error<SqliteError>>> + Send {
        // The line of code of a direct call. That of an acquisition is in its context.
        let caller = Location::caller();
        async move {
            let (permit, mut lease) = match self.mode {
                Mode::Write => {
                    let (permit, lease) = self.writer(caller).await?;
                    (Some(permit), lease)
                }
                Mode::Read => (None, Lease::acquire_from(&self.connections, caller).await?),
            };
            // If this is dropped here, the lease is released as cancelled. The permit is with the connection's thread,
            // which drops it when no transaction is open any more.
            match lease.as_mut().begin(permit).await {
                Ok(()) => Ok(OpenTransaction { lease }),
                Err(cause) => {
                    drop(Lease::fail(lease));
                    Err(Error::from(cause).at(Stage::Acquiring))
                }
            }
        }
    }

    /// Checks that the transaction is still open and can be committed. This does not clean it for another user.
    ///
    /// # Errors
    ///
    /// Returns [`InDoubt`](SqliteError::InDoubt) or [`RolledBack`](SqliteError::RolledBack), as [`SqliteConn::call`]
    /// does.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, because it never waits.
    async fn validate(&self, open: &mut OpenTransaction<P>) -> Result<(), Error<SqliteError>> {
        match open.is_idle() {
            false => Err(Error::from(SqliteError::InDoubt).at(Stage::Validating)),
            true if !open.has_transaction() => Err(Error::from(SqliteError::RolledBack).at(Stage::Validating)),
            true => Ok(()),
        }
    }

    /// Commits on [`Exit::Completed`] and rolls back on any other exit, after waiting until a cut closure has stopped.
    /// Then releases the connection.
    ///
    /// # Errors
    ///
    /// Returns an error if the transaction could not be committed on `Completed`; it is then rolled back. If the thread
    /// of the connection ended meanwhile, [`is_unknown_outcome`](Error::is_unknown_outcome) returns `true`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is released with [`Exit::Cancelled`], and a transaction that is not
    /// committed by then is rolled back. A COMMIT that was cut may have taken effect.
    async fn release(&self, open: OpenTransaction<P>, exit: Exit) -> Result<(), Error<SqliteError>> {
        let mut lease = open.lease;
        // If this is dropped here, at the deadline, the lease is released as cancelled, and the thread stops.
        let outcome = match self.mode {
            Mode::Write if exit.is_completed() => lease.as_mut().commit().await,
            _ => lease.as_mut().clean().await,
        };
        let exit = if outcome.is_ok() { exit } else { exit.worst(Exit::Failed) };
        // The transaction has ended. The reaper waits until the connection is released; the client need not.
        drop(Lease::end(lease, exit));
        let is_commit = self.settles(exit);
        outcome.map_err(|cause| {
            let lost = is_commit && matches!(cause, SqliteError::ThreadGone);
            let error = if lost { Error::unknown_outcome(cause) } else { Error::failed(cause) };
            error.at(Stage::Releasing)
        })
    }

    fn probe(&self, open: &OpenTransaction<P>) -> Health {
        let healthy = open.is_idle() && open.has_transaction();
        if healthy { Health::Ready } else { Health::Dead }
    }

    /// Returns `true` for a commit. The end of a read-only transaction does not matter to the client.
    fn settles(&self, exit: Exit) -> bool {
        self.mode == Mode::Write && exit.is_completed()
    }

    /// Returns `true`, also for a read-only transaction: the next request must not read the data as of an earlier one.
    fn ends_with_request(&self) -> bool {
        true
    }
}

impl<P> fmt::Debug for Transaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A transaction that has begun: the handle of [`Transaction`]. It derefs to its connection.
///
/// There is no `commit` method. Only the owner of the scope or the lease decides how the transaction ends.
///
/// A function that works in the transaction of its caller takes the connection:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Lease, Resource};
/// use reqscope_sqlite::{OpenTransaction, Sqlite, SqliteConn, SqliteError, Transaction};
/// # use std::sync::Arc;
///
/// async fn place(order: i64, tx: &mut SqliteConn) -> Result<usize, SqliteError> {
///     tx.call(move |db| db.execute("INSERT INTO orders VALUES (?1)", [order])).await
/// }
///
/// # let table = "CREATE TABLE IF NOT EXISTS orders (id INTEGER)";
/// # let sqlite = Sqlite::builder().on_open(move |db| db.execute_batch(table)).build_temporary().unwrap();
/// # let writing = Arc::new(Transaction::new(Arc::new(sqlite)));
/// let mut lease = Lease::acquire(&writing).await.unwrap();
/// let tx: &mut OpenTransaction<Sqlite> = &mut lease;
/// place(7, tx).await.unwrap();
/// Lease::complete(lease).await.unwrap(); // COMMIT
/// # });
/// ```
pub struct OpenTransaction<P: Resource> {
    lease: Lease<P>,
}

impl<P: Resource<Handle: AsRef<SqliteConn>>> Deref for OpenTransaction<P> {
    type Target = SqliteConn;

    fn deref(&self) -> &SqliteConn {
        self.lease.as_ref()
    }
}

impl<P: Resource<Handle: AsRef<SqliteConn> + AsMut<SqliteConn>>> DerefMut for OpenTransaction<P> {
    fn deref_mut(&mut self) -> &mut SqliteConn {
        self.lease.as_mut()
    }
}

impl<P: Resource<Handle: AsRef<SqliteConn>>> fmt::Debug for OpenTransaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenTransaction").field(&**self).finish()
    }
}
