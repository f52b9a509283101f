use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;

use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Lease, Resource};

use crate::connection::{Access, CommitError, Connections, Gate, HasConnection, Transact};

/// The options of the transactions on connections of this resource.
type Options<P> = <<P as Connections>::Connection as Transact>::Options;

/// A resource of transactions, around any resource of connections, bare or pooled: `acquire` begins a transaction and
/// `release` ends it.
///
/// A transaction is committed on [`Exit::Completed`] and rolled back on any other exit. In a scope, all functions that
/// handle the request work in the same transaction, and a front end answers only after the commit. To only read, use
/// [`ReadOnly`].
///
/// # No partial commits
///
/// A transaction with a cut operation cannot be committed, nor can one that the database has ended early, for example
/// after a deadlock. `Completed` becomes an error. A connection whose ROLLBACK did not demonstrably succeed is not used
/// again.
///
/// # Commits with an unknown outcome
///
/// The answer to a COMMIT may be lost: the connection breaks, the server freezes, the time limit passes. Then
/// [`is_unknown_outcome`](Error::is_unknown_outcome) of the error returns `true`, and the connection is not used again.
/// An application that needs certainty can write a row with a key of the request, and look for it afterwards.
///
/// # Right and wrong stacks
///
/// Put the `Transaction` around a [`Pool`](reqscope::Pool), so that each request begins its own transaction, on a
/// connection that may have been used before. A pool around transactions would hand the transaction of one request to
/// the next, and never commit it, so to build one panics, as does a [`Shared`](reqscope::Shared).
///
/// A request that holds a connection and also acquires a transaction checks out two connections; if the pool has only
/// one, the request waits for itself, and the error of the timeout says so. Use the connection of the transaction
/// instead.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter/doc.rs"));
/// use reqscope::{Exit, Scopes};
/// use reqscope_driver::Transaction;
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (server, pool) = start().await;
/// let transactions = Arc::new(Transaction::new(pool));
/// let scopes = Scopes::new();
/// for (value, exit) in [(1, Exit::Completed), (2, Exit::Failed)] {
///     let scope = scopes.open();
///     scope.lazy(&transactions).get().await?.set("key", value).await?; // BEGIN, SET
///     scope.close(exit).await?; // COMMIT, then ROLLBACK
///     assert_eq!(server.value("key"), Some(1));
/// }
/// # Ok(())
/// # }
/// ```
pub struct Transaction<P: Connections> {
    connections: Arc<P>,
    options: Options<P>,
    access: Access,
    gate: <P::Connection as Transact>::Gate,
}

impl<P: Connections> Transaction<P> {
    /// Creates transactions that may write.
    pub fn new(connections: Arc<P>) -> Self {
        Self::with_access(connections, Access::Write)
    }

    /// Creates transactions that only read, as those of [`ReadOnly`], where a value decides what a request may do and its
    /// type must not: reading for a GET, writing for a POST.
    pub fn read_only(connections: Arc<P>) -> Self {
        Self::with_access(connections, Access::Read)
    }

    fn with_access(connections: Arc<P>, access: Access) -> Self {
        Transaction { connections, options: Default::default(), access, gate: Default::default() }
    }

    /// Returns the resource that the connections come from.
    pub fn get_ref(&self) -> &Arc<P> {
        &self.connections
    }

    /// Returns the options of these transactions, for an adapter that sets them.
    pub fn options_mut(&mut self) -> &mut Options<P> {
        &mut self.options
    }
}

impl<P: Connections> Resource for Transaction<P> {
    type Handle = OpenTransaction<P>;
    type Cause = P::Cause;

    /// Acquires a connection and begins a transaction. Where the database has one writer at a time, waits for its turn
    /// first.
    ///
    /// # Errors
    ///
    /// Returns the error of the connections' resource, or of the BEGIN.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is released as [`Exit::Cancelled`]. If the BEGIN was cut, the connection
    /// is not used again.
    #[track_caller]
    fn acquire(&self) -> impl Future<Output = Result<OpenTransaction<P>, Error<P::Cause>>> + Send {
        // The line of code of a direct call. That of an acquisition is in its context.
        let caller = Location::caller();
        async move {
            let (mut lease, permit) = self.gate.enter(&self.connections, self.access, caller).await?;
            // If this is dropped here, the lease ends as cancelled.
            match lease.connection_mut().begin(&self.options, self.access, permit).await {
                Ok(()) => Ok(OpenTransaction { lease }),
                Err(cause) => {
                    drop(Lease::fail(lease));
                    Err(P::Connection::error_at(cause, Stage::Acquiring))
                }
            }
        }
    }

    /// Checks that the transaction is still open and could be committed. This does not clean it for another user.
    ///
    /// # Errors
    ///
    /// If it could not be committed.
    ///
    /// # Cancel safety
    ///
    /// That of the connection's [`check`](Transact::check).
    async fn validate(&self, open: &mut OpenTransaction<P>) -> Result<(), Error<P::Cause>> {
        let checked = open.lease.connection_mut().check().await;
        checked.map_err(|cause| P::Connection::error_at(cause, Stage::Validating))
    }

    /// Commits on [`Exit::Completed`], otherwise rolls back; then releases the connection.
    ///
    /// # Errors
    ///
    /// Returns the error of the COMMIT, after a rollback unless its outcome is
    /// [unknown](Error::is_unknown_outcome), or of the ROLLBACK.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is released as [`Exit::Cancelled`]. A COMMIT that was cut may have taken
    /// effect.
    async fn release(&self, open: OpenTransaction<P>, exit: Exit) -> Result<(), Error<P::Cause>> {
        let mut lease = open.lease;
        // If this is dropped here, when the deadline has passed, the lease ends as cancelled.
        let outcome = match self.settles(exit) {
            true => self.commit(lease.connection_mut()).await,
            false => self.roll_back(lease.connection_mut()).await,
        };
        let exit = if outcome.is_ok() { exit } else { exit.worst(Exit::Failed) };
        // The transaction has ended. The reaper waits for the release of the connection, so the client need not.
        drop(Lease::end(lease, exit));
        outcome.map_err(|error| error.at(Stage::Releasing))
    }

    fn probe(&self, open: &OpenTransaction<P>) -> Health {
        if open.is_open() { Health::Ready } else { Health::Dead }
    }

    /// Returns `true` for a COMMIT.
    fn settles(&self, exit: Exit) -> bool {
        self.access == Access::Write && exit.is_completed()
    }

    fn ends_with_request(&self) -> bool {
        true
    }
}

impl<P: Connections> Transaction<P> {
    async fn commit(&self, conn: &mut P::Connection) -> Result<(), Error<P::Cause>> {
        match conn.commit(&self.options).await {
            Ok(()) => Ok(()),
            Err(CommitError::Refused(cause)) => {
                // It, or one that has replaced it, may still be open. If this fails, the connection is condemned, and the
                // first cause is the better one.
                drop(self.roll_back(conn).await);
                Err(P::Connection::error_at(cause, Stage::Releasing))
            }
            Err(CommitError::Unknown(cause)) => {
                // Its next user could not tell whether it sees the changes of this transaction.
                conn.condemn();
                Err(Error::unknown_outcome(cause))
            }
        }
    }

    /// Condemns a connection whose ROLLBACK was not confirmed: the next transaction on it would commit what is left.
    async fn roll_back(&self, conn: &mut P::Connection) -> Result<(), Error<P::Cause>> {
        let outcome = conn.roll_back(&self.options).await;
        if outcome.is_err() {
            conn.condemn();
        }
        outcome.map_err(|cause| P::Connection::error_at(cause, Stage::Releasing))
    }
}

impl<P: Connections> fmt::Debug for Transaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transaction { options, access, .. } = self;
        f.debug_struct("Transaction").field("options", options).field("access", access).finish_non_exhaustive()
    }
}

/// A resource of transactions that only read. A write in them fails.
///
/// It is a type of its own, so that a request can have one of these and one of [`Transaction`]. Its end does not matter
/// to the client: a response does not wait for it. Otherwise it is as a `Transaction`, and has the same handle.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter/doc.rs"));
/// use reqscope::Scopes;
/// use reqscope_driver::{ReadOnly, Transaction};
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, pool) = start().await;
/// let writing = Arc::new(Transaction::new(pool.clone()));
/// let reading = Arc::new(ReadOnly::new(pool));
/// let scope = Scopes::new().open();
/// let before = scope.lazy(&reading).get().await?.get("key").await?;
/// scope.lazy(&writing).get().await?.set("key", before + 1).await?;
/// # drop(scope);
/// # Ok(())
/// # }
/// ```
pub struct ReadOnly<P: Connections>(Transaction<P>);

impl<P: Connections> ReadOnly<P> {
    /// Creates transactions that only read.
    pub fn new(connections: Arc<P>) -> Self {
        ReadOnly(Transaction::read_only(connections))
    }

    /// Returns the resource that the connections come from.
    pub fn get_ref(&self) -> &Arc<P> {
        self.0.get_ref()
    }

    /// Returns the options of these transactions, for an adapter that sets them.
    pub fn options_mut(&mut self) -> &mut Options<P> {
        self.0.options_mut()
    }
}

/// As the [`Transaction`]'s, but never with a COMMIT.
impl<P: Connections> Resource for ReadOnly<P> {
    type Handle = OpenTransaction<P>;
    type Cause = P::Cause;

    #[track_caller]
    fn acquire(&self) -> impl Future<Output = Result<OpenTransaction<P>, Error<P::Cause>>> + Send {
        self.0.acquire()
    }

    fn validate(&self, open: &mut OpenTransaction<P>) -> impl Future<Output = Result<(), Error<P::Cause>>> + Send {
        self.0.validate(open)
    }

    fn release(
        &self,
        open: OpenTransaction<P>,
        exit: Exit,
    ) -> impl Future<Output = Result<(), Error<P::Cause>>> + Send {
        self.0.release(open, exit)
    }

    fn probe(&self, open: &OpenTransaction<P>) -> Health {
        self.0.probe(open)
    }

    /// Returns `true`: the next request must not read the data as of an earlier one.
    fn ends_with_request(&self) -> bool {
        true
    }
}

impl<P: Connections> fmt::Debug for ReadOnly<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnly").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// A transaction that has begun: the handle of [`Transaction`] and [`ReadOnly`]. It derefs to its connection.
///
/// It has no `commit`: only the owner of the scope or the lease decides how the transaction ends. A function that works
/// in the transaction of its caller takes a `&mut` to the connection.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter/doc.rs"));
/// use reqscope::Lease;
/// use reqscope_driver::{OpenTransaction, Transaction};
/// # use std::sync::Arc;
///
/// async fn count(tx: &mut KvConn) -> Result<(), KvError> {
///     let seen = tx.get("visits").await?;
///     tx.set("visits", seen + 1).await
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (server, pool) = start().await;
/// # let transactions = Arc::new(Transaction::new(pool));
/// let mut lease = Lease::acquire(&transactions).await?;
/// let tx: &mut OpenTransaction<_> = &mut lease;
/// count(tx).await?;
/// Lease::complete(lease).await?; // COMMIT
/// assert_eq!(server.value("visits"), Some(1));
/// # Ok(())
/// # }
/// ```
pub struct OpenTransaction<P: Connections> {
    lease: Lease<P>,
}

impl<P: Connections> Deref for OpenTransaction<P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        self.lease.connection()
    }
}

impl<P: Connections> DerefMut for OpenTransaction<P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        self.lease.connection_mut()
    }
}

impl<P: Connections<Connection = C>, C: Transact> AsRef<C> for OpenTransaction<P> {
    fn as_ref(&self) -> &C {
        self
    }
}

impl<P: Connections<Connection = C>, C: Transact> AsMut<C> for OpenTransaction<P> {
    fn as_mut(&mut self) -> &mut C {
        self
    }
}

impl<P: Connections<Connection: fmt::Debug>> fmt::Debug for OpenTransaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenTransaction").field(&**self).finish()
    }
}
