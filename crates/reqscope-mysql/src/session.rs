//! The state of a session that the driver does not track: whether an operation is in flight, whether a transaction is
//! open.

use std::future::Future;
use std::time::Duration;

use mysql_async::consts::StatusFlags;
use mysql_async::{Conn, Error};
use reqscope_driver::{Flight, SavepointStack};
use tokio::time::Instant;

use crate::MySqlError;
use crate::error::{is_unavailable, refuses_writes};
use crate::fault::Fault;

/// What the last operation has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    Idle,
    /// Rows may be left to read. The driver reads them before it sends anything else.
    Rows,
}

/// What is known about the transaction of a [`Transaction`](crate::Transaction) on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionState {
    /// There is none. Transactions begun by the user's own statements are not tracked.
    None,
    Open,
    /// The server has ended it: after a deadlock, a COMMIT as text, a CREATE TABLE.
    Ended,
    /// The last answer did not include it. The answer to a ping does.
    Unknown,
}

pub(crate) struct Session {
    /// From when on the connection is not used again if its server refuses a write. A younger one was led here by the same
    /// name that the next one would use.
    pub(crate) evictable: Instant,
    pub(crate) activity: Activity,
    /// The operation in flight, or one that was cut.
    pub(crate) flight: Flight,
    pub(crate) transaction: TransactionState,
    /// The connection must not be reused: the server refused a write because it is read-only, or the outcome of a
    /// COMMIT is unknown.
    pub(crate) is_evicted: bool,
    /// How the server has failed the last operation, or the one because of which the connection is evicted.
    pub(crate) fault: Option<Fault>,
    /// A statement may have changed what a reset does not restore: the database or the role.
    pub(crate) may_outlive_reset: bool,
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) savepoints: SavepointStack,
}

impl Session {
    pub(crate) fn new(evictable: Instant, operation_timeout: Option<Duration>) -> Self {
        Session {
            evictable,
            activity: Activity::Idle,
            flight: Flight::new(),
            transaction: TransactionState::None,
            is_evicted: false,
            fault: None,
            may_outlive_reset: false,
            operation_timeout,
            savepoints: SavepointStack::default(),
        }
    }

    /// Checks that the connection was neither cut nor closed.
    ///
    /// The driver's own flag turns back to "connected" once a wrong answer was read, so this must be checked before
    /// each operation.
    ///
    /// # Errors
    ///
    /// Returns [`MySqlError::InDoubt`] if an operation was cut, [`MySqlError::Closed`] if the connection is closed.
    pub(crate) fn check_usable(&self, conn: &Conn) -> Result<(), MySqlError> {
        if !self.flight.is_clear() {
            return Err(MySqlError::InDoubt);
        }
        if conn.is_disconnected() {
            // The driver closes after an error; a result that was cut between two of its sets looks the same.
            return Err(if self.activity == Activity::Rows { MySqlError::InDoubt } else { MySqlError::Closed });
        }
        Ok(())
    }

    /// Runs one operation under the operation timeout.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the operation stays in flight, and the connection refuses all further ones.
    pub(crate) async fn run<T>(
        &mut self,
        leaves: Activity,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.is_evicted {
            self.fault = None;
        }
        let outcome = match self.flight.run(self.operation_timeout, operation).await {
            Ok(outcome) => outcome,
            Err(late) => {
                return Err(MySqlError::TimedOut { what: "an operation", after: late.limit() }.into_driver());
            }
        };
        self.activity = if outcome.is_ok() { leaves } else { Activity::Idle };
        // A procedure may have changed the database or the role before it failed.
        self.may_outlive_reset |= outcome.is_err();
        if let Err(error) = &outcome {
            let is_refusal = matches!(error, Error::Server(error) if refuses_writes(error));
            self.is_evicted |= is_refusal && Instant::now() >= self.evictable;
            self.fault = Fault::of(error).or(self.fault.take());
        }
        if self.transaction != TransactionState::None {
            self.transaction = TransactionState::Unknown;
        }
        outcome.map_err(|error| match error {
            // In a type that has a class, which the driver's has not.
            Error::Server(error) if is_unavailable(&error) => {
                Error::Other(Box::new(MySqlError::Driver(Error::Server(error))))
            }
            error => error,
        })
    }

    /// Updates the transaction state from the answer of a successful operation.
    pub(crate) fn read_transaction_state(&mut self, conn: &Conn) {
        if self.transaction != TransactionState::None {
            self.transaction = match conn.last_ok_packet() {
                None => TransactionState::Unknown,
                Some(answer) if answer.status_flags().contains(StatusFlags::SERVER_STATUS_IN_TRANS) => {
                    TransactionState::Open
                }
                Some(_) => TransactionState::Ended,
            };
        }
    }
}
