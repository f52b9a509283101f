//! What a connection knows about itself, beside the driver: is an operation in flight, is a transaction open?

use std::future::Future;
use std::time::Duration;

use mysql_async::consts::StatusFlags;
use mysql_async::{Conn, Error};
use tokio::time::timeout_at;

use crate::MySqlError;
use crate::error::refuses_writes;
use crate::settings::deadline;

/// ```text
///          an operation begins            it ends
///   Idle ──────────────────────► Busy ──────────────► Idle, or Rows if rows may be left to read
///                                 │
///                                 └ its future is dropped, its deadline passes: Busy for ever
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    Idle,
    /// Rows may be left to read. The driver reads them before it sends anything else.
    Rows,
    /// An operation is in flight. Who finds this and is not that operation knows that it was cut.
    Busy,
}

/// What is known of a transaction that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionState {
    /// Nobody holds one. What is sent as text is nobody's concern here.
    None,
    Open,
    /// It has ended by itself: a deadlock, a COMMIT as text, a CREATE TABLE.
    Ended,
    /// The last answer did not say. A ping's answer does.
    Unknown,
}

pub(crate) struct Session {
    pub(crate) activity: Activity,
    pub(crate) transaction: TransactionState,
    /// The server refused a write for being read-only: there must be another one by now.
    pub(crate) is_evicted: bool,
    /// A statement may have led the session to where no reset brings it back from: another database, another role.
    pub(crate) may_outlive_reset: bool,
    pub(crate) operation_timeout: Option<Duration>,
    /// How many savepoints are open.
    pub(crate) savepoints: u32,
    /// A savepoint that was dropped: what came after it is undone before anything else is done.
    pub(crate) undo: Option<u32>,
}

impl Session {
    pub(crate) fn new(operation_timeout: Option<Duration>) -> Self {
        Session {
            activity: Activity::Idle,
            transaction: TransactionState::None,
            is_evicted: false,
            may_outlive_reset: false,
            operation_timeout,
            savepoints: 0,
            undo: None,
        }
    }

    /// # Errors
    ///
    /// If the connection has been cut or is closed. The driver's own sign turns back to "connected" once a wrong answer was
    /// read, so it has to be looked at before each operation.
    pub(crate) fn check_usable(&self, conn: &Conn) -> Result<(), MySqlError> {
        if self.activity == Activity::Busy {
            return Err(MySqlError::InDoubt);
        }
        if conn.is_disconnected() {
            // The driver closes after an error; rows that were cut between two result sets leave the same sign.
            return Err(if self.activity == Activity::Rows { MySqlError::InDoubt } else { MySqlError::Closed });
        }
        Ok(())
    }

    /// Runs one operation under the operation timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropped in the middle, the connection stays busy, and refuses everything from then on.
    pub(crate) async fn run<T>(
        &mut self,
        leaves: Activity,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let began = self.operation_timeout.map(|timeout| (deadline(timeout), timeout));
        self.activity = Activity::Busy;
        let outcome = match began {
            None => operation.await,
            Some((until, after)) => match timeout_at(until, operation).await {
                Ok(outcome) => outcome,
                Err(_late) => return Err(MySqlError::TimedOut { what: "an operation", after }.into_driver()),
            },
        };
        self.activity = if outcome.is_ok() { leaves } else { Activity::Idle };
        // A procedure may have done something before it failed.
        self.may_outlive_reset |= outcome.is_err();
        if let Err(Error::Server(error)) = &outcome {
            self.is_evicted |= refuses_writes(error);
        }
        if self.transaction != TransactionState::None {
            self.transaction = TransactionState::Unknown;
        }
        outcome
    }

    /// Reads from the answer of an operation that ended well whether the transaction is still open.
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
