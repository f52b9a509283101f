use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use mysql_async::IsolationLevel;
use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Lease, Resource};

use crate::begin::BeginOptions;
use crate::commit::{commit, roll_back};
use crate::session::TransactionState;
use crate::{MySqlConn, MySqlError};

/// A transaction around any resource of MySQL connections, bare or pooled: acquiring it begins one, releasing it ends it.
///
/// It commits on [`Exit::Completed`] and rolls back on everything else. In a scope that is the whole of the request: every
/// function of it works in the same transaction, and a front end answers after the commit (law L11).
///
/// # Nobody else commits
///
/// A transaction with an operation that was cut cannot be committed, nor one that has ended by itself: the server rolls back
/// all of it after a deadlock, and statements such as CREATE TABLE or a COMMIT sent as text end it in the middle. What came
/// next would be committed one by one, without a word. So the handle refuses it, with
/// [`NotOpen`](MySqlError::NotOpen), and `Completed` becomes an error. To know, it asks the server (a ping) after each error
/// that it answered, and after a [`QueryResult`](mysql_async::QueryResult) or a stream.
///
/// A BEGIN or a COMMIT AND CHAIN as text leaves another transaction open in its place, and no answer tells. That is found at
/// the end: the COMMIT first releases a savepoint of the beginning, and where that has gone, `Completed` becomes the same
/// error.
///
/// # When nobody knows
///
/// The answer to a COMMIT may be lost: the connection breaks, the server freezes, the [time](Self::commit_timeout) is over.
/// Then it may have happened or not; that is an error of its own, [`UnknownOutcome`](MySqlError::UnknownOutcome), and the
/// connection is not used again. Who has to know writes a row with a key of the request's, and looks for it.
///
/// # Right and wrong stacks
///
/// `Transaction` goes around a [`Pool`](reqscope::Pool), so that each request begins its own, on a connection that was
/// used before. A pool of transactions would hand the transaction of one request to the next, and never commit it.
///
/// ```
/// use reqscope_mysql::mysql_async::IsolationLevel;
/// use reqscope_mysql::{MySql, Transaction};
/// use std::sync::Arc;
///
/// let pool = Arc::new(MySql::pool_builder().build(MySql::new("mysql://app:secret@db.internal/shop")?));
/// let writing = Arc::new(Transaction::new(pool.clone()));
/// let strict = Arc::new(Transaction::new(pool.clone()).isolation_level(IsolationLevel::Serializable));
/// let report = Arc::new(Transaction::read_only(pool).consistent_snapshot());
/// # drop((writing, strict, report));
/// # Ok::<_, reqscope_mysql::MySqlError>(())
/// ```
///
/// A request that holds a connection and asks for a transaction takes two out of the pool. Work with the connection of the
/// transaction.
pub struct Transaction<P> {
    connections: Arc<P>,
    start: BeginOptions,
    commit_timeout: Duration,
}

impl<P> Transaction<P> {
    /// Transactions that write, at the server's isolation level (REPEATABLE READ, if nobody has set another).
    pub fn new(connections: Arc<P>) -> Self {
        Transaction { connections, start: BeginOptions::default(), commit_timeout: Duration::from_secs(4) }
    }

    /// Transactions that only read: a write in them fails (1792), and the client does not wait for their end.
    pub fn read_only(connections: Arc<P>) -> Self {
        let mut reading = Self::new(connections);
        reading.start.read_only = true;
        reading
    }

    /// Sets the isolation level of these transactions. Default: the server's.
    #[must_use]
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.start.isolation_level = Some(level);
        self
    }

    /// Sees the data as it is when the transaction begins, and not as it is at its first read. Only for REPEATABLE READ,
    /// the server's default; with any other level it does nothing.
    #[must_use]
    pub fn consistent_snapshot(mut self) -> Self {
        self.start.consistent_snapshot = true;
        self
    }

    /// How long a COMMIT or a ROLLBACK may take, whatever time an operation has. Default: 4 s, below the 5 s that a scope gives its
    /// [releases](reqscope::scope::ScopesBuilder::close_timeout): so a COMMIT without an answer is an
    /// [`UnknownOutcome`](MySqlError::UnknownOutcome), and not only late.
    #[must_use]
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = timeout;
        self
    }

    /// The resource that the connections come from.
    pub fn get_ref(&self) -> &Arc<P> {
        &self.connections
    }
}

impl<P> Resource for Transaction<P>
where
    P: Resource<Handle: AsRef<MySqlConn> + AsMut<MySqlConn>, Cause = MySqlError>,
{
    type Handle = OpenTransaction<P>;
    type Cause = MySqlError;

    /// Takes a connection and begins.
    ///
    /// # Errors
    ///
    /// Those of the connection's resource, and of the START TRANSACTION.
    ///
    /// # Cancel safety
    ///
    /// The connection goes back as [`Exit::Cancelled`], and one with a START TRANSACTION that was cut is closed.
    async fn acquire(&self) -> Result<OpenTransaction<P>, Error<MySqlError>> {
        let mut lease = Lease::acquire(&self.connections).await?;
        let conn = lease.as_mut();
        // Dropped here: the lease goes back as cancelled.
        match conn.execute(&self.start.statement()).await {
            Ok(()) => {
                conn.session.transaction = TransactionState::Open;
                Ok(OpenTransaction { lease })
            }
            Err(cause) => {
                drop(Lease::fail(lease));
                Err(cause.at(Stage::Acquiring))
            }
        }
    }

    /// Says whether the transaction is still open and could be committed. It cannot be made clean for another user.
    ///
    /// # Errors
    ///
    /// [`InDoubt`](MySqlError::InDoubt), [`Closed`](MySqlError::Closed) or [`NotOpen`](MySqlError::NotOpen).
    ///
    /// # Cancel safety
    ///
    /// The connection is in doubt from then on.
    async fn validate(&self, open: &mut OpenTransaction<P>) -> Result<(), Error<MySqlError>> {
        let outcome = open.ready().await.map_err(MySqlError::from);
        outcome.map_err(|cause| cause.at(Stage::Validating))
    }

    /// Commits on [`Exit::Completed`], else rolls back; then the connection goes back.
    ///
    /// # Errors
    ///
    /// If `Completed` could not be committed. It is rolled back then, unless the error is an
    /// [`UnknownOutcome`](MySqlError::UnknownOutcome).
    ///
    /// # Cancel safety
    ///
    /// The connection goes back as [`Exit::Cancelled`], and is closed. A COMMIT that was cut may have happened.
    async fn release(&self, open: OpenTransaction<P>, exit: Exit) -> Result<(), Error<MySqlError>> {
        let mut lease = open.lease;
        let conn = lease.as_mut();
        // Its end has a time of its own.
        conn.session.operation_timeout = None;
        // Dropped here, when the deadline has passed: the lease goes back as cancelled.
        let outcome = if exit.is_completed() && !self.start.read_only {
            match commit(conn, self.commit_timeout).await {
                Ok(()) => Ok(()),
                // It is still open then, or what it has left is: a pool may hand the connection on as it is.
                Err(cause) => {
                    drop(roll_back(conn, self.commit_timeout).await);
                    Err(cause)
                }
            }
        } else {
            roll_back(conn, self.commit_timeout).await
        };
        conn.restore_operation_timeout();
        let exit = if outcome.is_ok() { exit } else { exit.worst(Exit::Failed) };
        // The transaction has ended, and the client need not wait until its connection is back: the reaper does.
        drop(Lease::end(lease, exit));
        outcome.map_err(|cause| cause.at(Stage::Releasing))
    }

    fn probe(&self, open: &OpenTransaction<P>) -> Health {
        let healthy = open.is_usable() && open.session.transaction != TransactionState::Ended;
        if healthy { Health::Ready } else { Health::Dead }
    }

    /// A commit matters to the client; the end of a transaction that only read does not.
    fn settles(&self, exit: Exit) -> bool {
        !self.start.read_only && exit.is_completed()
    }
}

impl<P> fmt::Debug for Transaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("start", &self.start).finish_non_exhaustive()
    }
}

/// A transaction that has begun: the handle of [`Transaction`]. It derefs to its connection.
///
/// There is no `commit` here. Who owns the scope or the lease says how it ends, and nobody else. A function that works in
/// whatever transaction its caller is in takes a `&mut MySqlConn`; one that wants a part of it to be undone alone opens a
/// [`savepoint`](MySqlConn::savepoint).
///
/// ```no_run
/// use reqscope::Lease;
/// use reqscope_mysql::mysql_async::prelude::Queryable;
/// use reqscope_mysql::{MySql, MySqlConn, MySqlError, OpenTransaction, Transaction};
/// # use std::sync::Arc;
///
/// async fn place(tx: &mut MySqlConn, order: u64) -> Result<(), MySqlError> {
///     Ok(tx.exec_drop("INSERT INTO orders VALUES (?)", (order,)).await?)
/// }
///
/// # async fn example(writing: Arc<Transaction<MySql>>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut lease = Lease::acquire(&writing).await?;
/// let tx: &mut OpenTransaction<MySql> = &mut lease;
/// place(tx, 7).await?;
/// Lease::complete(lease).await?; // COMMIT
/// # Ok(())
/// # }
/// ```
pub struct OpenTransaction<P: Resource> {
    lease: Lease<P>,
}

impl<P: Resource<Handle: AsRef<MySqlConn>>> Deref for OpenTransaction<P> {
    type Target = MySqlConn;

    fn deref(&self) -> &MySqlConn {
        self.lease.as_ref()
    }
}

impl<P: Resource<Handle: AsRef<MySqlConn> + AsMut<MySqlConn>>> DerefMut for OpenTransaction<P> {
    fn deref_mut(&mut self) -> &mut MySqlConn {
        self.lease.as_mut()
    }
}

impl<P: Resource<Handle: AsRef<MySqlConn>>> fmt::Debug for OpenTransaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenTransaction").field(&**self).finish()
    }
}
