use std::error::Error as StdError;
use std::future::Future;
use std::iter::successors;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Lease};

use crate::connection::{Connections, Transact};
use crate::transaction::{OpenTransaction, Transaction};

/// How many levels of an error are looked at. Real chains are far shorter; one that leads back to itself has to end.
const MAX_LEVELS: usize = 128;

/// The longest pause before the first repetition. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Returns whether an error, or one of its [sources](StdError::source), says that the same transaction may succeed if all
/// of it is run again. `C` is the connection; see [`Transact::is_try_again`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter/doc.rs"));
/// use reqscope_driver::is_try_again;
///
/// # fn example() {
/// let lost = KvError::Server("conflict".to_owned());
/// assert!(is_try_again::<KvConn>(&reqscope::Error::failed(lost)));
/// assert!(!is_try_again::<KvConn>(&KvError::InDoubt));
/// # drop(start);
/// # }
/// # fn main() { example() }
/// ```
pub fn is_try_again<C: Transact>(error: &(dyn StdError + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).take(MAX_LEVELS).any(C::is_try_again)
}

impl<P: Connections> Transaction<P> {
    /// Returns up to `most` attempts at one transaction: if it fails because of a concurrent one, all of it is run again.
    /// See [`Attempts`].
    #[track_caller]
    pub fn attempts(self: &Arc<Self>, most: u32) -> Attempts<P> {
        Attempts { transactions: Arc::clone(self), caller: Location::caller(), most, begun: 0 }
    }

    /// Runs `work` in a transaction of its own and commits it, in up to `most` [`attempts`](Self::attempts).
    ///
    /// If the future has to be `Send`, as in a spawned task or a handler, `work` must own what it uses: write `async move
    /// |tx|`, with a `String` or an `Arc<str>` instead of a `&str`. For an async closure that captures a reference, the
    /// compiler reports that "`Send` is not general enough". [`attempts`](Self::attempts) needs no closure.
    ///
    /// # Errors
    ///
    /// Returns the error of `work`, after a rollback; the error of acquiring the connection, beginning or committing;
    /// or, when all attempts are used up, the error of the last one.
    ///
    /// # Panics
    ///
    /// Panics if `work` does; the transaction is rolled back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the transaction is rolled back, unless the COMMIT was sent, which then runs to its end.
    #[track_caller]
    pub fn run<T, E, F>(self: &Arc<Self>, most: u32, mut work: F) -> impl Future<Output = Result<T, E>>
    where
        F: AsyncFnMut(&mut OpenTransaction<P>) -> Result<T, E>,
        E: From<Error<P::Cause>> + StdError + 'static,
    {
        // Before the future begins, because an `async fn` does not know its caller.
        let mut attempts = self.attempts(most);
        async move {
            loop {
                let mut tx = attempts.begin().await?;
                let outcome = work(&mut tx.lease).await;
                if let Some(outcome) = tx.end(outcome).await {
                    return outcome;
                }
            }
        }
    }
}

/// Attempts at one transaction, which is run again if it fails because of a concurrent one.
///
/// When two transactions lock the same rows in a different order, the database ends one of them. This is normal with
/// locks, and only the code that did all the work of the transaction can repeat it. So each attempt is a transaction of
/// its own, on a connection of its own. It is not the one that its request may already have in a scope: that one has done
/// other work too. Do not write to the same rows in both, or the attempt waits for a lock that its own request holds.
///
/// The work should have no effects outside the database, or only effects that may happen twice. Before each repetition
/// there is a random pause, up to 2 ms at first and up to twice as long each time. A COMMIT whose outcome is unknown is
/// not repeated.
///
/// An error says by its chain of sources whether the work is worth repeating, so the error type of the application
/// serves, if it has the error of the database as a source.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter/doc.rs"));
/// use reqscope_driver::Transaction;
/// use std::sync::Arc;
///
/// /// A handler, which borrows from its request.
/// async fn transfer(db: &Arc<Transaction<reqscope::Pool<Kv>>>, to: &str) -> Result<(), reqscope::Error<KvError>> {
///     let mut attempts = db.attempts(10);
///     loop {
///         let mut tx = attempts.begin().await?;
///         let outcome = deposit(&mut tx, to).await;
///         if let Some(outcome) = tx.end(outcome).await {
///             return outcome;
///         }
///     }
/// }
///
/// async fn deposit(tx: &mut KvConn, to: &str) -> Result<(), reqscope::Error<KvError>> {
///     let seen = tx.get(to).await?;
///     Ok(tx.set(to, seen + 10).await?)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (server, pool) = start().await;
/// transfer(&Arc::new(Transaction::new(pool)), "bob").await?;
/// assert_eq!(server.value("bob"), Some(10));
/// # Ok(())
/// # }
/// ```
pub struct Attempts<P: Connections> {
    transactions: Arc<Transaction<P>>,
    caller: &'static Location<'static>,
    most: u32,
    begun: u32,
}

impl<P: Connections> Attempts<P> {
    /// Begins the next attempt, after a pause if it is a repetition.
    ///
    /// # Errors
    ///
    /// That of acquiring the connection, or of the BEGIN.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is the acquisition.
    pub async fn begin(&mut self) -> Result<Attempt<'_, P>, Error<P::Cause>> {
        if self.begun > 0 {
            let longest = FIRST_PAUSE.saturating_mul(1 << (self.begun - 1).min(7));
            tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
        }
        self.begun = self.begun.saturating_add(1);
        let lease = Lease::acquire_from(&self.transactions, self.caller).await?;
        Ok(Attempt { lease, is_last: self.begun >= self.most, attempts: PhantomData })
    }
}

/// One of the [`Attempts`] at a transaction. It derefs to the connection.
///
/// Dropping it rolls it back.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter/doc.rs"));
/// # use reqscope_driver::Transaction;
/// # use std::sync::Arc;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (server, pool) = start().await;
/// let mut attempts = Arc::new(Transaction::new(pool)).attempts(3);
/// let mut tx = attempts.begin().await?;
/// tx.set("key", 1).await?;
/// drop(tx);
/// let mut tx = attempts.begin().await?;
/// tx.set("key", 2).await?;
/// assert!(matches!(tx.end(Ok::<_, reqscope::Error<KvError>>(())).await, Some(Ok(()))));
/// assert_eq!(server.value("key"), Some(2));
/// # Ok(())
/// # }
/// ```
#[must_use = "an attempt that is dropped is rolled back"]
pub struct Attempt<'a, P: Connections> {
    lease: Lease<Transaction<P>>,
    is_last: bool,
    /// There is one at a time.
    attempts: PhantomData<&'a mut Attempts<P>>,
}

impl<P: Connections> Attempt<'_, P> {
    /// Commits if the work has succeeded, and otherwise rolls back. Returns the outcome, or `None` if the transaction
    /// failed because of a concurrent one and there is another attempt.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the transaction is rolled back, unless the COMMIT was sent, which then runs to its end.
    pub async fn end<T, E>(self, outcome: Result<T, E>) -> Option<Result<T, E>>
    where
        E: From<Error<P::Cause>> + StdError + 'static,
    {
        self.end_if(outcome, |error| is_try_again::<P::Connection>(error)).await
    }

    /// The same with an error type that is no [`Error`](StdError), for which `again` says whether to run it again.
    ///
    /// # Cancel safety
    ///
    /// That of [`end`](Self::end).
    pub async fn end_if<T, E>(self, outcome: Result<T, E>, again: impl Fn(&E) -> bool) -> Option<Result<T, E>>
    where
        E: From<Error<P::Cause>>,
    {
        let Attempt { lease, is_last, .. } = self;
        let refused = match outcome {
            // If this is dropped here, the commit runs to its end in the reaper.
            Ok(value) => match Lease::complete(lease).await {
                Ok(()) => return Some(Ok(value)),
                // It may have taken effect, whatever its chain says.
                Err(unknown) if unknown.is_unknown_outcome() => return Some(Err(E::from(unknown))),
                Err(refused) => E::from(refused),
            },
            Err(error) if !is_last && again(&error) => {
                // Its locks must be released before the next attempt.
                return match Lease::fail(lease).await {
                    Ok(()) => None,
                    Err(failed) => Some(Err(E::from(failed))),
                };
            }
            Err(error) => {
                drop(Lease::fail(lease));
                return Some(Err(error));
            }
        };
        if !is_last && again(&refused) { None } else { Some(Err(refused)) }
    }
}

impl<P: Connections> Deref for Attempt<'_, P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        &self.lease
    }
}

impl<P: Connections> DerefMut for Attempt<'_, P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        &mut self.lease
    }
}
