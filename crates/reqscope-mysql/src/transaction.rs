use std::error::Error as StdError;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{IsolationLevel, ServerError};
use reqscope::Error;
use reqscope::error::Stage;
use reqscope_driver::{Access, CommitError, Connections, NoGate, ReadOnly, Savepoint, SavepointStack, Savepoints};
use reqscope_driver::{Transact, Transaction};
use tokio::time::timeout;

use crate::error::is_conflict;
use crate::session::{Activity, TransactionState};
use crate::{MySqlConn, MySqlError};

/// The server interrupted the COMMIT: it shuts down (1053), or the statement (1317) or the connection (1927) was
/// killed.
const INTERRUPTED: [u16; 3] = [1053, 1317, 1927];

/// `SAVEPOINT does not exist`: the savepoint from the beginning is gone, and its transaction with it.
const NO_SAVEPOINT: u16 = 1305;

/// One text, whose second half the server runs only if the first succeeds. The first fails if a BEGIN or a COMMIT AND
/// CHAIN as text has replaced our transaction with another one, which no answer shows.
const COMMIT: &str = "RELEASE SAVEPOINT reqscope; COMMIT";

impl Transact for MySqlConn {
    type Error = MySqlError;
    type Options = TransactionOptions;
    type Gate = NoGate;

    async fn begin(&mut self, options: &TransactionOptions, access: Access, (): ()) -> Result<(), MySqlError> {
        self.execute(&options.statement(access)).await?;
        self.session.transaction = TransactionState::Open;
        self.session.savepoints.clear();
        Ok(())
    }

    /// Commits. An error from the server means that nothing was committed, unless the COMMIT was interrupted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt, and the COMMIT may have taken effect.
    async fn commit(&mut self, options: &TransactionOptions) -> Result<(), CommitError<MySqlError>> {
        let limit = options.commit_timeout;
        // Only the limit of the whole counts.
        self.session.operation_timeout = None;
        let mut was_asked = false;
        let ended = async {
            self.ready().await?;
            was_asked = true;
            self.session.run(Activity::Idle, self.conn.query_drop(COMMIT)).await
        };
        // If this is dropped here, or times out, the connection is in doubt.
        let outcome = match timeout(limit, ended).await {
            Ok(outcome) => outcome.map_err(MySqlError::from),
            Err(_late) => Err(MySqlError::TimedOut { what: "the COMMIT", after: limit }),
        };
        self.restore_operation_timeout();
        let Err(cause) = outcome else {
            self.session.transaction = TransactionState::None;
            return Ok(());
        };
        let code = cause.server().map(|answer| answer.code);
        Err(match code {
            _ if !was_asked => CommitError::Refused(cause),
            Some(NO_SAVEPOINT) => CommitError::Refused(MySqlError::NotOpen),
            Some(code) if !INTERRUPTED.contains(&code) => CommitError::Refused(cause),
            _ => CommitError::Unknown(MySqlError::UnknownOutcome(Some(Box::new(cause)))),
        })
    }

    /// Does nothing on a connection that is in doubt or closed. The server rolls back the transaction of the former when
    /// the connection is stopped, and of the latter by itself.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt.
    async fn roll_back(&mut self, options: &TransactionOptions) -> Result<(), MySqlError> {
        if !self.is_usable() {
            return Ok(());
        }
        let limit = options.commit_timeout;
        self.session.operation_timeout = None;
        let rolled_back = async {
            self.read_rest().await?;
            self.session.run(Activity::Idle, self.conn.query_drop("ROLLBACK")).await
        };
        // If this is dropped here, or times out, the connection is in doubt.
        let outcome = match timeout(limit, rolled_back).await {
            Ok(outcome) => outcome.map_err(MySqlError::from),
            Err(_late) => Err(MySqlError::TimedOut { what: "the ROLLBACK", after: limit }),
        };
        self.restore_operation_timeout();
        outcome?;
        self.session.transaction = TransactionState::None;
        Ok(())
    }

    async fn check(&mut self) -> Result<(), MySqlError> {
        Ok(self.ready().await?)
    }

    fn is_open(&self) -> bool {
        self.is_usable() && self.session.transaction != TransactionState::Ended
    }

    fn condemn(&mut self) {
        self.session.is_evicted = true;
    }

    fn error_at(cause: MySqlError, stage: Stage) -> Error<MySqlError> {
        cause.at(stage)
    }

    /// A deadlock (1213), a lock wait that timed out (1205), or a snapshot that was outdated by a write (1020).
    fn is_try_again(error: &(dyn StdError + 'static)) -> bool {
        let ours = error.downcast_ref().is_some_and(MySqlError::is_try_again);
        let drivers = || match error.downcast_ref() {
            Some(mysql_async::Error::Server(error)) => Some(error),
            // An error of the driver in a transparent variant is not a level of its own.
            _ => error.downcast_ref::<ServerError>(),
        };
        ours || drivers().is_some_and(is_conflict)
    }
}

impl Savepoints for MySqlConn {
    async fn run_savepoint(&mut self, statement: &str) -> Result<(), MySqlError> {
        if self.session.transaction == TransactionState::None {
            return Err(MySqlError::NotOpen);
        }
        self.execute(statement).await
    }

    fn savepoints(&mut self) -> &mut SavepointStack {
        &mut self.session.savepoints
    }
}

impl MySqlConn {
    /// Opens a transaction within the transaction: the changes made through the [`Savepoint`] can be undone without the
    /// rest.
    ///
    /// # Errors
    ///
    /// Returns [`NotOpen`](MySqlError::NotOpen) outside a [`Transaction`], or the error of the
    /// statement.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt, as after any cut operation.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use reqscope_mysql::mysql_async::prelude::Queryable;
    /// use reqscope_mysql::{MySqlConn, MySqlError};
    ///
    /// /// Books the seats that are free.
    /// async fn book(tx: &mut MySqlConn, seats: &[u32]) -> Result<u32, MySqlError> {
    ///     let mut booked = 0;
    ///     for seat in seats {
    ///         let mut attempt = tx.savepoint().await?;
    ///         match attempt.exec_drop("INSERT INTO bookings (seat) VALUES (?)", (seat,)).await {
    ///             Ok(()) => {
    ///                 attempt.release().await?;
    ///                 booked += 1;
    ///             }
    ///             Err(_taken) => attempt.rollback().await?,
    ///         }
    ///     }
    ///     Ok(booked)
    /// }
    /// ```
    pub async fn savepoint(&mut self) -> Result<Savepoint<'_, MySqlConn>, MySqlError> {
        Savepoint::open(self).await
    }
}

/// What transactions begin and end with. [`TransactionExt`] sets it.
///
/// ```
/// use reqscope_mysql::TransactionOptions;
///
/// let options = TransactionOptions::default(); // of `Transaction::new`
/// # let _ = format!("{options:?}");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TransactionOptions {
    isolation_level: Option<IsolationLevel>,
    consistent_snapshot: bool,
    commit_timeout: Duration,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        TransactionOptions {
            isolation_level: None,
            consistent_snapshot: false,
            commit_timeout: Duration::from_secs(4),
        }
    }
}

impl TransactionOptions {
    /// Returns the statements as one text, which costs one round trip. The COMMIT releases the savepoint, which fails
    /// if this transaction is no longer the open one.
    fn statement(self, access: Access) -> String {
        let isolation = self.isolation_level.map(|level| {
            let level = match level {
                IsolationLevel::ReadUncommitted => "READ UNCOMMITTED",
                IsolationLevel::ReadCommitted => "READ COMMITTED",
                IsolationLevel::RepeatableRead => "REPEATABLE READ",
                IsolationLevel::Serializable => "SERIALIZABLE",
            };
            format!("SET TRANSACTION ISOLATION LEVEL {level}; ")
        });
        let options = match (self.consistent_snapshot, access) {
            (false, Access::Write) => "",
            (true, Access::Write) => " WITH CONSISTENT SNAPSHOT",
            (false, Access::Read) => " READ ONLY",
            (true, Access::Read) => " WITH CONSISTENT SNAPSHOT, READ ONLY",
        };
        format!("{}START TRANSACTION{options}; SAVEPOINT reqscope", isolation.unwrap_or_default())
    }
}

/// Settings of a [`Transaction`] or a [`ReadOnly`] on MySQL connections.
///
/// ```
/// use reqscope::Pool;
/// use reqscope_mysql::mysql_async::IsolationLevel;
/// use reqscope_mysql::{MySql, ReadOnly, Transaction, TransactionExt};
/// use std::sync::Arc;
///
/// let pool = Arc::new(Pool::new(MySql::new("mysql://app:secret@db.internal/shop")?));
/// let writing = Arc::new(Transaction::new(pool.clone()));
/// let strict = Arc::new(Transaction::new(pool.clone()).isolation_level(IsolationLevel::Serializable));
/// let report = Arc::new(ReadOnly::new(pool).consistent_snapshot());
/// # drop((writing, strict, report));
/// # Ok::<_, reqscope_mysql::MySqlError>(())
/// ```
pub trait TransactionExt: Sized {
    /// Returns the options of these transactions.
    fn options_mut(&mut self) -> &mut TransactionOptions;

    /// Sets the isolation level of these transactions. Defaults to the server's (REPEATABLE READ unless configured
    /// otherwise), because an operator may have chosen it.
    #[must_use]
    fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.options_mut().isolation_level = Some(level);
        self
    }

    /// Makes each transaction see the data as of its beginning, instead of as of its first read. Off by default, as on
    /// the server. Works only at REPEATABLE READ, the server's default; at any other level it has no effect.
    #[must_use]
    fn consistent_snapshot(mut self) -> Self {
        self.options_mut().consistent_snapshot = true;
        self
    }

    /// Sets how long a COMMIT or a ROLLBACK may take, independent of the operation timeout. Defaults to 4 s, because
    /// that is below the 5 s of a scope's [close timeout](reqscope::scope::ScopesBuilder::close_timeout): a COMMIT
    /// without an answer then fails with [`UnknownOutcome`](MySqlError::UnknownOutcome) instead of a plain timeout.
    #[must_use]
    fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.options_mut().commit_timeout = timeout;
        self
    }
}

impl<P: Connections<Connection = MySqlConn>> TransactionExt for Transaction<P> {
    fn options_mut(&mut self) -> &mut TransactionOptions {
        Transaction::options_mut(self)
    }
}

impl<P: Connections<Connection = MySqlConn>> TransactionExt for ReadOnly<P> {
    fn options_mut(&mut self) -> &mut TransactionOptions {
        ReadOnly::options_mut(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options_are_in_one_text() {
        let options = TransactionOptions::default();
        assert_eq!(options.statement(Access::Write), "START TRANSACTION; SAVEPOINT reqscope");
        let options = TransactionOptions {
            isolation_level: Some(IsolationLevel::Serializable),
            consistent_snapshot: true,
            ..options
        };
        assert_eq!(
            options.statement(Access::Read),
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY; SAVEPOINT reqscope"
        );
    }
}
