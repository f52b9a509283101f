use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use reqscope::error::Stage;
use reqscope::{Error, Lease, Pooled, Resource};

/// A connection on which transactions can be begun and ended: what an adapter implements for its handle, to get
/// [`Transaction`](crate::Transaction), [`ReadOnly`](crate::ReadOnly) and [`Attempts`](crate::Attempts).
///
/// The frame calls [`begin`](Self::begin) once for each acquisition, and then either [`commit`](Self::commit) or
/// [`roll_back`](Self::roll_back), also on a connection with an operation that was cut. It passes the connection on, to a
/// pool or to its release, when that has ended.
///
/// This is a connection to a list in memory. The example `adapter` of this crate has one to a server.
///
/// ```
/// use reqscope_driver::{Access, CommitError, NoGate, Transact};
/// use std::io;
/// use std::sync::{Arc, Mutex};
///
/// struct Notes {
///     written: Arc<Mutex<Vec<String>>>,
///     drafts: Option<Vec<String>>,
///     is_condemned: bool,
/// }
///
/// impl Transact for Notes {
///     type Error = io::Error;
///     type Options = ();
///     type Gate = NoGate;
///
///     async fn begin(&mut self, _options: &(), _access: Access, (): ()) -> io::Result<()> {
///         self.drafts = Some(Vec::new());
///         Ok(())
///     }
///
///     async fn commit(&mut self, _options: &()) -> Result<(), CommitError<io::Error>> {
///         self.check().await.map_err(CommitError::Refused)?;
///         self.written.lock().unwrap().extend(self.drafts.take().into_iter().flatten());
///         Ok(())
///     }
///
///     async fn roll_back(&mut self, _options: &()) -> io::Result<()> {
///         self.drafts = None;
///         Ok(())
///     }
///
///     async fn check(&mut self) -> io::Result<()> {
///         if self.is_open() { Ok(()) } else { Err(io::Error::other("there is no transaction")) }
///     }
///
///     fn is_open(&self) -> bool {
///         self.drafts.is_some() && !self.is_condemned
///     }
///
///     fn condemn(&mut self) {
///         self.is_condemned = true;
///     }
/// }
/// # let notes = Notes { written: Arc::default(), drafts: None, is_condemned: false };
/// # assert!(!notes.is_open());
/// ```
pub trait Transact: Send + Sized + 'static {
    /// The cause of an error, which is the [`Cause`](Resource::Cause) of the resource of these connections.
    type Error: StdError + Send + Sync + 'static;

    /// What a transaction begins and ends with: its isolation level, the timeout of its COMMIT.
    type Options: Clone + fmt::Debug + Default + Send + Sync + 'static;

    /// What a transaction waits for before it takes a connection. [`NoGate`] if there is no such thing.
    type Gate: Gate<Self>;

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// If the database refuses. The connection is then released as failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is released as cancelled. It must know by then that it was cut.
    fn begin(
        &mut self,
        options: &Self::Options,
        access: Access,
        permit: Permit<Self>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Commits the transaction, within its own time limit, which should be below the close timeout of a scope (5 s). A
    /// limit that passes is then an unknown outcome, and not only a late release.
    ///
    /// A transaction with a cut operation, or one that the server has ended, is refused: parts of it may be missing.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]. The frame rolls back after a refusal, and condemns the connection if the outcome is unknown.
    ///
    /// # Cancel safety
    ///
    /// As that of [`begin`](Self::begin). The COMMIT may take effect.
    fn commit(
        &mut self,
        options: &Self::Options,
    ) -> impl Future<Output = Result<(), CommitError<Self::Error>>> + Send;

    /// Ends whatever transaction is open, without its changes. Nothing else may be taken for the answer to it, such as
    /// an error that an earlier statement has left unread.
    ///
    /// A connection that is not used again, because an operation was cut or it is closed, need not do anything.
    ///
    /// # Errors
    ///
    /// If it did not demonstrably succeed. The frame then condemns the connection.
    ///
    /// # Cancel safety
    ///
    /// As that of [`begin`](Self::begin).
    fn roll_back(&mut self, options: &Self::Options) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Makes sure that the transaction is open and could be committed.
    ///
    /// # Errors
    ///
    /// If it could not.
    ///
    /// # Cancel safety
    ///
    /// If it asks the database, as that of [`begin`](Self::begin).
    fn check(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Returns whether the transaction could be committed, as far as is known without asking the database.
    fn is_open(&self) -> bool;

    /// Makes sure that the connection is not used again: its [`probe`](Resource::probe) returns
    /// [`Dead`](reqscope::Health::Dead) from now on.
    fn condemn(&mut self);

    /// Converts a cause into the error of a stage, with its class.
    fn error_at(cause: Self::Error, stage: Stage) -> Error<Self::Error> {
        Error::failed(cause).at(stage)
    }

    /// Returns whether this error says that the same transaction may succeed if all of it is run again, because it failed
    /// by a concurrent one: a deadlock, a serialization failure.
    ///
    /// It is called for each level in the [chain of sources](StdError::source) of an application's error, so it should
    /// know the errors of the driver, too.
    fn is_try_again(error: &(dyn StdError + 'static)) -> bool {
        let _error = error;
        false
    }
}

/// What a transaction waits for before it takes a connection, such as the turn to write of a database with one writer.
/// While it waits, it has no connection that others could use. Each [`Transaction`](crate::Transaction) has one.
///
/// ```
/// use reqscope::{Error, Lease};
/// use reqscope_driver::{Access, Connections, Gate, Transact};
/// use std::panic::Location;
/// use std::sync::Arc;
/// use tokio::sync::{OwnedSemaphorePermit, Semaphore};
///
/// /// One writer at a time, and any number of readers.
/// struct OneWriter(Arc<Semaphore>);
///
/// impl Default for OneWriter {
///     fn default() -> Self {
///         OneWriter(Arc::new(Semaphore::new(1)))
///     }
/// }
///
/// impl<C: Transact> Gate<C> for OneWriter {
///     type Permit = Option<OwnedSemaphorePermit>;
///
///     async fn enter<P: Connections<Connection = C>>(
///         &self,
///         connections: &Arc<P>,
///         access: Access,
///         caller: &'static Location<'static>,
///     ) -> Result<(Lease<P>, Self::Permit), Error<C::Error>> {
///         let permit = match access {
///             Access::Write => Some(self.0.clone().acquire_owned().await.expect("it is not closed")),
///             Access::Read => None,
///         };
///         Ok((Lease::acquire_from(connections, caller).await?, permit))
///     }
/// }
/// # drop(OneWriter::default());
/// ```
pub trait Gate<C: Transact>: Default + Send + Sync + 'static {
    /// What the gate lets a transaction pass with. It is dropped when the transaction has ended, wherever that is.
    type Permit: Send;

    /// Waits, and then acquires a connection by [`Lease::acquire_from`] with this `caller`.
    ///
    /// # Errors
    ///
    /// That of the acquisition, or a timeout of the gate's own.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the transaction leaves the line, and a permit that it has goes to the next one.
    #[expect(clippy::type_complexity, reason = "a name for it would hide what it is")]
    fn enter<P: Connections<Connection = C>>(
        &self,
        connections: &Arc<P>,
        access: Access,
        caller: &'static Location<'static>,
    ) -> impl Future<Output = Result<(Lease<P>, Self::Permit), Error<C::Error>>> + Send;
}

/// A [`Gate`] that lets every transaction pass.
///
/// ```
/// use reqscope_driver::{Gate, NoGate, Transact};
///
/// fn gate<C: Transact<Gate = NoGate>>() -> impl Gate<C> {
///     NoGate
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGate;

impl<C: Transact> Gate<C> for NoGate {
    type Permit = ();

    async fn enter<P: Connections<Connection = C>>(
        &self,
        connections: &Arc<P>,
        _access: Access,
        caller: &'static Location<'static>,
    ) -> Result<(Lease<P>, ()), Error<C::Error>> {
        Ok((Lease::acquire_from(connections, caller).await?, ()))
    }
}

/// What a [`Gate`] lets a transaction pass with. The connection keeps it until the transaction has ended.
///
/// ```
/// use reqscope_driver::{Permit, Transact};
///
/// /// A connection's transaction, until it has ended.
/// struct Open<C: Transact> {
///     permit: Permit<C>,
/// }
/// # fn permit<C: Transact>(open: Open<C>) -> Permit<C> { open.permit }
/// ```
pub type Permit<C> = <<C as Transact>::Gate as Gate<C>>::Permit;

/// What a transaction may do.
///
/// ```
/// use reqscope_driver::Access;
///
/// fn statement(access: Access) -> &'static str {
///     match access {
///         Access::Write => "START TRANSACTION",
///         Access::Read => "START TRANSACTION READ ONLY",
///     }
/// }
/// assert_eq!(statement(Access::Read), "START TRANSACTION READ ONLY");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Write,
    /// Only read.
    Read,
}

/// How a COMMIT has ended that was not confirmed.
///
/// ```
/// use reqscope_driver::CommitError;
/// use std::io;
///
/// fn of(answer: Result<&str, io::Error>) -> Result<(), CommitError<io::Error>> {
///     match answer {
///         Ok("OK") => Ok(()),
///         Ok(refusal) => Err(CommitError::Refused(io::Error::other(refusal))),
///         Err(lost) => Err(CommitError::Unknown(lost)),
///     }
/// }
/// assert!(matches!(of(Err(io::ErrorKind::UnexpectedEof.into())), Err(CommitError::Unknown(_))));
/// ```
#[derive(Debug)]
pub enum CommitError<E> {
    /// Nothing was committed: the database says so, or the COMMIT was not sent.
    Refused(E),
    /// The COMMIT was sent, and it is not known whether it took effect.
    Unknown(E),
}

/// A handle that is a connection, or contains one, as a pooled handle does.
///
/// Implement it for a handle of your own that contains a connection.
///
/// ```
/// use reqscope_driver::{HasConnection, Transact};
///
/// /// A connection, and when it was made.
/// struct Aged<C> {
///     conn: C,
///     made: std::time::Instant,
/// }
///
/// impl<C: Transact> HasConnection for Aged<C> {
///     type Connection = C;
///
///     fn connection(&self) -> &C {
///         &self.conn
///     }
///
///     fn connection_mut(&mut self) -> &mut C {
///         &mut self.conn
///     }
/// }
/// # fn made<C>(aged: Aged<C>) -> std::time::Instant { aged.made }
/// ```
pub trait HasConnection {
    /// The connection.
    type Connection: Transact;

    /// Returns the connection.
    fn connection(&self) -> &Self::Connection;

    /// Returns the connection.
    fn connection_mut(&mut self) -> &mut Self::Connection;
}

impl<C: Transact> HasConnection for C {
    type Connection = C;

    fn connection(&self) -> &C {
        self
    }

    fn connection_mut(&mut self) -> &mut C {
        self
    }
}

impl<R: Resource<Handle: HasConnection>> HasConnection for Pooled<R> {
    type Connection = <R::Handle as HasConnection>::Connection;

    fn connection(&self) -> &Self::Connection {
        (**self).connection()
    }

    fn connection_mut(&mut self) -> &mut Self::Connection {
        (**self).connection_mut()
    }
}

impl<R: Resource<Handle: HasConnection>> HasConnection for Lease<R> {
    type Connection = <R::Handle as HasConnection>::Connection;

    fn connection(&self) -> &Self::Connection {
        (**self).connection()
    }

    fn connection_mut(&mut self) -> &mut Self::Connection {
        (**self).connection_mut()
    }
}

/// A resource of connections, bare or pooled: every resource whose handles have one.
///
/// ```
/// use reqscope_driver::{Connections, ReadOnly, Transaction};
/// use std::sync::Arc;
///
/// struct Db<P: Connections> {
///     writing: Arc<Transaction<P>>,
///     reading: Arc<ReadOnly<P>>,
/// }
///
/// impl<P: Connections> Db<P> {
///     fn new(connections: Arc<P>) -> Self {
///         let reading = Arc::new(ReadOnly::new(connections.clone()));
///         Db { writing: Arc::new(Transaction::new(connections)), reading }
///     }
/// }
/// # fn both<P: Connections>(p: Arc<P>) { let Db { writing, reading } = Db::new(p); drop((writing, reading)); }
/// ```
pub trait Connections:
    Resource<Handle: HasConnection<Connection = Self::Connection>, Cause = <Self::Connection as Transact>::Error>
{
    /// The connection in each of its handles.
    type Connection: Transact;
}

impl<P, C> Connections for P
where
    C: Transact,
    P: Resource<Handle: HasConnection<Connection = C>, Cause = C::Error>,
{
    type Connection = C;
}
