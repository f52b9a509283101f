use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Lease, Resource};

use crate::{MySqlConn, MySqlError, OpenTransaction, Transaction};

/// An error that can say whether the same transaction may succeed if it is run again.
///
/// Implement it for the error type of your handlers, with one line for each kind of error that it contains.
///
/// ```
/// use reqscope_mysql::{MySqlError, TryAgain};
///
/// enum AppError {
///     Database(MySqlError),
///     SoldOut,
/// }
///
/// impl TryAgain for AppError {
///     fn is_try_again(&self) -> bool {
///         matches!(self, AppError::Database(error) if error.is_try_again())
///     }
/// }
/// assert!(!AppError::SoldOut.is_try_again());
/// ```
pub trait TryAgain {
    /// Returns whether the same transaction may succeed if it is run again; see [`MySqlError::is_try_again`].
    fn is_try_again(&self) -> bool;
}

impl TryAgain for MySqlError {
    fn is_try_again(&self) -> bool {
        MySqlError::is_try_again(self)
    }
}

impl TryAgain for Error<MySqlError> {
    fn is_try_again(&self) -> bool {
        self.cause().is_some_and(MySqlError::is_try_again)
    }
}

impl<P> Transaction<P>
where
    P: Resource<Handle: AsRef<MySqlConn> + AsMut<MySqlConn>, Cause = MySqlError>,
{
    /// Runs `work` in a transaction of its own and commits it. If the transaction fails because of a concurrent one
    /// ([`TryAgain`]), runs all of it again, up to `attempts` times in total.
    ///
    /// When two transactions lock the same rows in a different order, the server ends one of them (1213). This is
    /// normal with locks, and only the code that did all the work of the transaction can repeat it. So the transaction
    /// is used by `work` alone; the transaction that a request shares has done other work too.
    ///
    /// `work` should have no effects outside the database, or only effects that may happen twice. Between two attempts
    /// there is a random pause, up to 2 ms at first and up to twice as long each time. A COMMIT whose outcome is
    /// unknown is not repeated.
    ///
    /// If the future has to be `Send`, as in a spawned task or a handler, `work` must own what it uses: write `async
    /// move |tx|`, with a `String` or an `Arc<str>` instead of a `&str`. For an async closure that captures a
    /// reference, the compiler reports that "`Send` is not general enough".
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
    /// If the future is dropped, the transaction is rolled back, unless the COMMIT was sent, which then runs to its
    /// end.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use reqscope::Pool;
    /// use reqscope_mysql::mysql_async::prelude::Queryable;
    /// use reqscope_mysql::{MySql, MySqlError, Transaction};
    /// # use std::sync::Arc;
    ///
    /// async fn swap(transactions: &Arc<Transaction<Pool<MySql>>>, a: u64, b: u64) -> Result<(), MySqlError> {
    ///     transactions
    ///         .run(5, async |tx| {
    ///             tx.exec_drop("UPDATE seats SET guest = -guest WHERE id = ?", (a,)).await?;
    ///             tx.exec_drop("UPDATE seats SET guest = -guest WHERE id = ?", (b,)).await?;
    ///             Ok(())
    ///         })
    ///         .await
    /// }
    /// ```
    #[track_caller]
    pub fn run<T, E, F>(self: &Arc<Self>, attempts: u32, mut work: F) -> impl Future<Output = Result<T, E>>
    where
        F: AsyncFnMut(&mut OpenTransaction<P>) -> Result<T, E>,
        E: From<Error<MySqlError>> + TryAgain,
    {
        // Before the future begins, because an `async fn` does not know its caller.
        let caller = Location::caller();
        async move {
            let mut attempt = 1;
            loop {
                let error = match self.attempt(caller, &mut work).await {
                    Err(error) if attempt < attempts && error.is_try_again() => error,
                    outcome => return outcome,
                };
                drop(error);
                let longest = Duration::from_millis(1 << attempt.min(8));
                tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
                attempt += 1;
            }
        }
    }

    /// Runs `work` once in a transaction.
    async fn attempt<T, E, F>(self: &Arc<Self>, caller: &'static Location<'static>, work: &mut F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut OpenTransaction<P>) -> Result<T, E>,
        E: From<Error<MySqlError>> + TryAgain,
    {
        let mut lease = Lease::acquire_from(self, caller).await?;
        // If this is dropped here, or during a panic, the lease rolls back.
        match work(&mut lease).await {
            Ok(value) => {
                // If this is dropped here, the commit runs to its end in the reaper.
                Lease::complete(lease).await?;
                Ok(value)
            }
            Err(error) if error.is_try_again() => {
                // Its locks must be released before the next attempt.
                Lease::fail(lease).await?;
                Err(error)
            }
            Err(error) => {
                drop(Lease::fail(lease));
                Err(error)
            }
        }
    }
}
