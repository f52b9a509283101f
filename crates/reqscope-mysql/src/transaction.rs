use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::IsolationLevel;
use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Lease, Resource};

use crate::begin::BeginOptions;
use crate::commit::{commit, roll_back};
use crate::session::TransactionState;
use crate::{MySqlConn, MySqlError};

/// A resource of transactions, around any resource of MySQL connections, bare or pooled: `acquire` begins a transaction
/// and `release` ends it.
///
/// A transaction is committed on [`Exit::Completed`] and rolled back on any other exit. In a scope, all functions that
/// handle the request work in the same transaction, and a front end answers only after the commit.
///
/// # No partial commits
///
/// A transaction with a cut operation cannot be committed. Nor can a transaction that has ended early: the server rolls
/// back the whole transaction after a deadlock, and statements such as CREATE TABLE or a COMMIT sent as text end it.
/// The statements that follow would silently be committed one by one, so the handle refuses them with
/// [`NotOpen`](MySqlError::NotOpen), and `Completed` becomes an error. To detect this, the handle pings the server
/// after each error that the server returned, and after a [`QueryResult`](mysql_async::QueryResult) or a stream.
///
/// A BEGIN or a COMMIT AND CHAIN sent as text leaves another transaction open in its place, which no answer of the
/// server shows. This is detected at the end: before the COMMIT, a savepoint that was set at the beginning is released,
/// and if it is gone, `Completed` becomes the same error.
///
/// # Commits with an unknown outcome
///
/// The answer to a COMMIT may be lost: the connection breaks, the server freezes, the [timeout](Self::commit_timeout)
/// passes. Then it is unknown whether the transaction was committed. The error is
/// [`UnknownOutcome`](MySqlError::UnknownOutcome), and the connection is not used again. An application that needs
/// certainty can write a row with a key of the request, and look for it afterwards.
///
/// # Right and wrong stacks
///
/// Put the `Transaction` around a [`Pool`](reqscope::Pool), so that each request begins its own transaction, on a
/// connection that may have been used before. A pool around transactions would hand the transaction of one request to
/// the next, and never commit it, so to build one panics, as does a [`Shared`](reqscope::Shared).
///
/// ```
/// use reqscope::Pool;
/// use reqscope_mysql::mysql_async::IsolationLevel;
/// use reqscope_mysql::{MySql, Transaction};
/// use std::sync::Arc;
///
/// let pool = Arc::new(Pool::new(MySql::new("mysql://app:secret@db.internal/shop")?));
/// let writing = Arc::new(Transaction::new(pool.clone()));
/// let strict = Arc::new(Transaction::new(pool.clone()).isolation_level(IsolationLevel::Serializable));
/// let report = Arc::new(Transaction::read_only(pool).consistent_snapshot());
/// # drop((writing, strict, report));
/// # Ok::<_, reqscope_mysql::MySqlError>(())
/// ```
///
/// A request that holds a connection and also acquires a transaction checks out two connections of the pool. Use the
/// connection of the transaction instead.
pub struct Transaction<P> {
    connections: Arc<P>,
    start: BeginOptions,
    commit_timeout: Duration,
}

impl<P> Transaction<P> {
    /// Creates transactions that may write, at the server's isolation level (REPEATABLE READ unless configured
    /// otherwise).
    pub fn new(connections: Arc<P>) -> Self {
        Transaction { connections, start: BeginOptions::default(), commit_timeout: Duration::from_secs(4) }
    }

    /// Creates transactions that only read: a write in them fails (1792), and the response does not wait for their end.
    pub fn read_only(connections: Arc<P>) -> Self {
        let mut reading = Self::new(connections);
        reading.start.read_only = true;
        reading
    }

    /// Sets the isolation level of these transactions. Defaults to the server's, because an operator may have chosen
    /// it.
    #[must_use]
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.start.isolation_level = Some(level);
        self
    }

    /// Makes each transaction see the data as of its beginning, instead of as of its first read. Off by default, as on
    /// the server. Works only at REPEATABLE READ, the server's default; at any other level it has no effect.
    #[must_use]
    pub fn consistent_snapshot(mut self) -> Self {
        self.start.consistent_snapshot = true;
        self
    }

    /// Sets how long a COMMIT or a ROLLBACK may take, independent of the operation timeout. Defaults to 4 s, because
    /// that is below the 5 s of a scope's [close timeout](reqscope::scope::ScopesBuilder::close_timeout): a COMMIT
    /// without an answer then fails with [`UnknownOutcome`](MySqlError::UnknownOutcome) instead of a plain timeout.
    #[must_use]
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = timeout;
        self
    }

    /// Returns the resource that the connections come from.
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

    /// Acquires a connection and begins a transaction.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection's resource, or of the START TRANSACTION.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is released as [`Exit::Cancelled`]. If the START TRANSACTION was cut,
    /// the connection is closed.
    #[track_caller]
    fn acquire(&self) -> impl Future<Output = Result<OpenTransaction<P>, Error<MySqlError>>> + Send {
        // The line of code of a direct call. That of an acquisition is in its context.
        let caller = Location::caller();
        async move {
            let mut lease = Lease::acquire_from(&self.connections, caller).await?;
            let conn = lease.as_mut();
            // If this is dropped here, the lease ends as cancelled.
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
    }

    /// Checks that the transaction is still open and could be committed. This does not clean it for another user.
    ///
    /// # Errors
    ///
    /// Returns [`InDoubt`](MySqlError::InDoubt), [`Closed`](MySqlError::Closed) or [`NotOpen`](MySqlError::NotOpen).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt.
    async fn validate(&self, open: &mut OpenTransaction<P>) -> Result<(), Error<MySqlError>> {
        let outcome = open.ready().await.map_err(MySqlError::from);
        outcome.map_err(|cause| cause.at(Stage::Validating))
    }

    /// Commits on [`Exit::Completed`], otherwise rolls back; then releases the connection.
    ///
    /// # Errors
    ///
    /// Returns the error of the COMMIT, after a rollback unless it is
    /// [`UnknownOutcome`](MySqlError::UnknownOutcome), or of the ROLLBACK.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is released as [`Exit::Cancelled`] and closed. A COMMIT that was cut
    /// may have taken effect.
    async fn release(&self, open: OpenTransaction<P>, exit: Exit) -> Result<(), Error<MySqlError>> {
        let mut lease = open.lease;
        let conn = lease.as_mut();
        // COMMIT and ROLLBACK have a timeout of their own.
        conn.session.operation_timeout = None;
        // If this is dropped here, when the deadline has passed, the lease ends as cancelled.
        let outcome = if exit.is_completed() && !self.start.read_only {
            match commit(conn, self.commit_timeout).await {
                Ok(()) => Ok(()),
                // The transaction, or one that has replaced it, is still open; a pool may lend the connection without
                // a reset.
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
        // The transaction has ended. The reaper waits for the return of the connection, so the client need not.
        drop(Lease::end(lease, exit));
        outcome.map_err(|cause| cause.at(Stage::Releasing))
    }

    fn probe(&self, open: &OpenTransaction<P>) -> Health {
        let healthy = open.is_usable() && open.session.transaction != TransactionState::Ended;
        if healthy { Health::Ready } else { Health::Dead }
    }

    /// Returns `true` for a COMMIT. The end of a read-only transaction does not matter to the client.
    fn settles(&self, exit: Exit) -> bool {
        !self.start.read_only && exit.is_completed()
    }

    /// Returns `true`, also for a read-only transaction: the next request must not read the data as of an earlier one.
    fn ends_with_request(&self) -> bool {
        true
    }
}

impl<P> fmt::Debug for Transaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("start", &self.start).finish_non_exhaustive()
    }
}

/// A transaction that has begun: the handle of [`Transaction`]. It derefs to its connection.
///
/// It has no `commit`: only the owner of the scope or the lease decides how the transaction ends. A function that works
/// in its caller's transaction takes a `&mut MySqlConn`; one that may have to undo only its own part opens a
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
