use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Lease, Resource};

use crate::database::{Database, WriterPermit};
use crate::{SqliteConn, SqliteError};

/// A transaction around any resource of SQLite connections, bare or pooled: acquiring it begins one, releasing it ends
/// it.
///
/// It commits on [`Exit::Completed`] and rolls back on everything else. In a scope that is the whole of the request:
/// every function of it works in the same transaction, and a front end answers after the commit (law L11).
///
/// # Writers queue
///
/// SQLite has one writer at a time. [`Transaction::new`] takes its turn in a queue, first come first served, *before*
/// it takes a connection, and begins with `BEGIN IMMEDIATE`: so a writer that waits costs neither a connection nor
/// a thread, and none fails with `SQLITE_BUSY` because of another one in this process. There is one queue for each
/// database file, however many resources lead to it. The turn ends when the transaction has: after a hang-up that is when
/// the rollback is done, not when the client went (law L13).
///
/// Make one `Transaction` for each database and share it, as all resources: a new one has to look at a connection to
/// learn whose queue is its own. Two writing transactions of one database in one scope wait for each other until the deadline: use one.
///
/// # Readers do not wait
///
/// [`Transaction::read_only`] sees the database as it is at its first read, until it ends, whatever is written
/// meanwhile. It waits for nobody and nobody waits for it. A write in it fails.
///
/// # Nobody else commits
///
/// A statement that was cut by a timeout, a closure that panicked, and a transaction that SQLite has rolled back by itself
/// (a full disk) cannot be committed: the handle refuses more work, and `Completed` becomes an error. A `COMMIT` in a
/// closure of yours is turned into a rollback.
///
/// # Right and wrong stacks
///
/// `Transaction` goes around a [`Pool`](reqscope::Pool), so that each request begins its own, on a connection that was
/// used before. A pool of transactions would hand the transaction of one request to the next, and never commit it.
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
/// The connection goes back when its transaction has ended; one with a cut statement is stopped and closed, and holds
/// its slot until then (laws L13, L14). A request that holds a connection and asks for a transaction takes two out of
/// the pool; where that is the last one, the timeout says so. Work with the connection of the transaction.
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
    /// Whose queue to wait in. Only a connection knows it, so the first acquisition learns it.
    database: OnceLock<Arc<Database>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Write,
    Read,
}

impl<P> Transaction<P> {
    /// Transactions that write.
    pub fn new(connections: Arc<P>) -> Self {
        Transaction { connections, mode: Mode::Write, database: OnceLock::new() }
    }

    /// Transactions that only read.
    pub fn read_only(connections: Arc<P>) -> Self {
        Transaction { connections, mode: Mode::Read, database: OnceLock::new() }
    }

    /// The resource that the connections come from.
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
    /// The turn to write, and then a connection.
    async fn writer(&self) -> Result<(WriterPermit, Lease<P>), Error<SqliteError>> {
        let database = match self.database.get() {
            Some(database) => database,
            None => {
                let lease = Lease::acquire(&self.connections).await?;
                let database = self.database.get_or_init(|| Arc::clone(lease.as_ref().database()));
                if let Some(permit) = database.try_writer() {
                    return Ok((permit, lease));
                }
                // Others write already: back with it, and into the queue.
                Lease::complete(lease).await?;
                database
            }
        };
        // Dropped here, we leave the queue; dropped after it, the permit goes to the next.
        let permit = database.writer().await;
        let lease = Lease::acquire(&self.connections).await?;
        if !Arc::ptr_eq(database, lease.as_ref().database()) {
            Lease::complete(lease).await?;
            return Err(Error::permanent(SqliteError::OtherDatabase));
        }
        Ok((permit, lease))
    }
}

impl<P> Resource for Transaction<P>
where
    P: Resource<Handle: AsRef<SqliteConn> + AsMut<SqliteConn>, Cause = SqliteError>,
{
    type Handle = OpenTransaction<P>;
    type Cause = SqliteError;

    /// Waits for its turn to write, takes a connection, and begins.
    ///
    /// # Errors
    ///
    /// Those of the connection's resource; `SQLITE_BUSY` if another process writes for too long.
    ///
    /// # Cancel safety
    ///
    /// Leaves the queue. A BEGIN that was cut, waiting for another process, is stopped, and the connection goes back
    /// as [`Exit::Cancelled`].
    async fn acquire(&self) -> Result<OpenTransaction<P>, Error<SqliteError>> {
        let (permit, mut lease) = match self.mode {
            Mode::Write => {
                let (permit, lease) = self.writer().await?;
                (Some(permit), lease)
            }
            Mode::Read => (None, Lease::acquire(&self.connections).await?),
        };
        // Dropped here: the lease goes back as cancelled, and the permit is with the connection's thread, which
        // lets go of it when nothing is open any more.
        match lease.as_mut().begin(permit).await {
            Ok(()) => Ok(OpenTransaction { lease }),
            Err(cause) => {
                drop(Lease::fail(lease));
                Err(Error::from(cause).at(Stage::Acquiring))
            }
        }
    }

    /// Says whether the transaction is still open and could be committed. It cannot be made clean for another user.
    ///
    /// # Errors
    ///
    /// [`InDoubt`](SqliteError::InDoubt) or [`RolledBack`](SqliteError::RolledBack), as [`SqliteConn::call`] has them.
    ///
    /// # Cancel safety
    ///
    /// It never waits.
    async fn validate(&self, open: &mut OpenTransaction<P>) -> Result<(), Error<SqliteError>> {
        match open.is_idle() {
            false => Err(Error::from(SqliteError::InDoubt).at(Stage::Validating)),
            true if !open.has_transaction() => Err(Error::from(SqliteError::RolledBack).at(Stage::Validating)),
            true => Ok(()),
        }
    }

    /// Commits on [`Exit::Completed`], else rolls back; then the connection goes back.
    ///
    /// What still runs was told to stop; this waits until it has.
    ///
    /// # Errors
    ///
    /// If `Completed` could not be committed; it is rolled back then.
    ///
    /// # Cancel safety
    ///
    /// The connection goes back as [`Exit::Cancelled`], and what has not been committed by then is rolled back. A COMMIT
    /// that was cut may have happened.
    async fn release(&self, open: OpenTransaction<P>, exit: Exit) -> Result<(), Error<SqliteError>> {
        let mut lease = open.lease;
        // Dropped here, when the deadline has passed: the lease goes back as cancelled, and the thread stops.
        let outcome = match self.mode {
            Mode::Write if exit.is_completed() => lease.as_mut().commit().await,
            _ => lease.as_mut().clean().await,
        };
        let exit = if outcome.is_ok() { exit } else { exit.worst(Exit::Failed) };
        // The transaction has ended, and the client need not wait until its connection is back: the reaper does.
        drop(Lease::end(lease, exit));
        outcome.map_err(|cause| Error::from(cause).at(Stage::Releasing))
    }

    fn probe(&self, open: &OpenTransaction<P>) -> Health {
        let healthy = open.is_idle() && open.has_transaction();
        if healthy { Health::Ready } else { Health::Dead }
    }

    /// A commit matters to the client; the end of a transaction that only read does not.
    fn settles(&self, exit: Exit) -> bool {
        self.mode == Mode::Write && exit.is_completed()
    }
}

impl<P> fmt::Debug for Transaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A transaction that has begun: the handle of [`Transaction`]. It derefs to its connection.
///
/// There is no `commit` here. Who owns the scope or the lease says how it ends, and nobody else.
///
/// A function that works in whatever transaction its caller is in takes the connection:
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
