use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Lease, Resource};

use crate::{MySqlConn, MySqlError, OpenTransaction, Transaction};

/// Does this error say that the same transaction may succeed if it is done again?
///
/// Implement it for the error type of your handlers, in one line for each kind of error that it keeps.
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
    /// Says so; see [`MySqlError::is_try_again`].
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
    /// Runs `work` in a transaction of its own and commits it; does all of it again where it lost against another one
    /// ([`TryAgain`]), at most `attempts` times in all.
    ///
    /// Two transactions that want the same rows in another order cannot both have them, and the server ends one of them
    /// (1213). That is no fault but a part of working with locks, and only who knows the whole of the work can do it again. So
    /// this is for work of its own: a transaction that a request shares has done more than `work` knows of.
    ///
    /// `work` is to touch nothing but the database, or something that may be touched twice. In between there is a random pause, up
    /// to 2 ms at first and twice as long each time. A COMMIT whose outcome is unknown is not tried again.
    ///
    /// In a future that has to be `Send`, as a spawned task or a handler, let `work` own what it uses: `async move |tx|`,
    /// with a `String` or an `Arc<str>` and not a `&str`. Of an async closure that has captured a reference the compiler
    /// cannot prove it, and says that "`Send` is not general enough".
    ///
    /// # Errors
    ///
    /// Those of `work`, rolled back; those of the connection, the beginning and the commit; after the last attempt its error.
    ///
    /// # Panics
    ///
    /// If `work` does; it is rolled back.
    ///
    /// # Cancel safety
    ///
    /// It is rolled back, unless the COMMIT was sent, which then runs to its end.
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
    pub async fn run<T, E, F>(self: &Arc<Self>, attempts: u32, mut work: F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut OpenTransaction<P>) -> Result<T, E>,
        E: From<Error<MySqlError>> + TryAgain,
    {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(&mut work).await {
                Err(error) if attempt < attempts && error.is_try_again() => error,
                outcome => return outcome,
            };
            drop(error);
            let longest = Duration::from_millis(1 << attempt.min(8));
            tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
            attempt += 1;
        }
    }

    async fn attempt<T, E, F>(self: &Arc<Self>, work: &mut F) -> Result<T, E>
    where
        F: AsyncFnMut(&mut OpenTransaction<P>) -> Result<T, E>,
        E: From<Error<MySqlError>> + TryAgain,
    {
        let mut lease = Lease::acquire(self).await?;
        // Dropped here, or in a panic: the lease rolls back.
        match work(&mut lease).await {
            Ok(value) => {
                // Dropped here, the commit runs to its end in the reaper.
                Lease::complete(lease).await?;
                Ok(value)
            }
            Err(error) if error.is_try_again() => {
                // Its locks are gone before it tries again.
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
