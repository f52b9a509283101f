//! Ends transactions: COMMIT and ROLLBACK.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::timeout;

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

/// Commits the transaction, within `time`.
///
/// # Errors
///
/// An error from the server means that nothing was committed, unless the COMMIT was interrupted. That, and no answer at
/// all, is [`MySqlError::UnknownOutcome`].
pub(crate) async fn commit(conn: &mut MySqlConn, time: Duration) -> Result<(), MySqlError> {
    let mut was_asked = false;
    let ended = async {
        conn.ready().await?;
        was_asked = true;
        conn.session.run(Activity::Idle, conn.conn.query_drop(COMMIT)).await
    };
    // If this is dropped here, or times out, the connection is in doubt.
    let outcome = match timeout(time, ended).await {
        Ok(outcome) => outcome.map_err(MySqlError::from),
        Err(_late) => Err(MySqlError::TimedOut { what: "the COMMIT", after: time }),
    };
    match outcome {
        Ok(()) => {
            conn.session.transaction = TransactionState::None;
            Ok(())
        }
        Err(cause) if !was_asked => Err(cause),
        Err(cause) if cause.server().is_some_and(|answer| answer.code == NO_SAVEPOINT) => Err(MySqlError::NotOpen),
        Err(cause) if cause.server().is_some_and(|answer| !INTERRUPTED.contains(&answer.code)) => Err(cause),
        Err(cause) => {
            // The next user could not tell whether it sees this transaction's rows.
            conn.session.is_evicted = true;
            Err(MySqlError::UnknownOutcome(Some(Box::new(cause))))
        }
    }
}

/// Rolls back the transaction, within `time`.
///
/// Does nothing on a connection that is in doubt or closed. The server rolls back the transaction of the former when
/// the connection is stopped, and of the latter by itself. If the server does not confirm the ROLLBACK, the connection is
/// not used again: its transaction may still be open.
pub(crate) async fn roll_back(conn: &mut MySqlConn, time: Duration) -> Result<(), MySqlError> {
    if !conn.is_usable() {
        return Ok(());
    }
    let rolled_back = async {
        conn.read_rest().await?;
        conn.session.run(Activity::Idle, conn.conn.query_drop("ROLLBACK")).await
    };
    // If this is dropped here, or times out, the connection is in doubt.
    let outcome = match timeout(time, rolled_back).await {
        Ok(outcome) => outcome.map_err(MySqlError::from),
        Err(_late) => Err(MySqlError::TimedOut { what: "the ROLLBACK", after: time }),
    };
    let session = &mut conn.session;
    session.is_evicted |= outcome.is_err();
    outcome?;
    session.transaction = TransactionState::None;
    (session.undo, session.savepoints) = (None, 0);
    Ok(())
}
