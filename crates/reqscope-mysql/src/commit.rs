//! How a transaction ends.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use crate::session::{Activity, TransactionState};
use crate::{MySqlConn, MySqlError};

/// Ended in the middle of it: the server shuts down, somebody has killed the statement, or the connection.
const INTERRUPTED: [u16; 3] = [1053, 1317, 1927];

/// `SAVEPOINT does not exist`: the one of the beginning has gone, and its transaction with it.
const NO_SAVEPOINT: u16 = 1305;

/// In one text, of which the server does the second half only if it could do the first: a BEGIN or a COMMIT AND CHAIN as text
/// has put another transaction in the place of ours, and no answer has told.
const COMMIT: &str = "RELEASE SAVEPOINT reqscope; COMMIT";

/// # Errors
///
/// An answer is a clear no, except where the COMMIT was interrupted; no answer is [`MySqlError::UnknownOutcome`].
pub(crate) async fn commit(conn: &mut MySqlConn, time: Duration) -> Result<(), MySqlError> {
    let mut was_asked = false;
    let ended = async {
        conn.ready().await?;
        was_asked = true;
        conn.session.run(Activity::Idle, conn.conn.query_drop(COMMIT)).await
    };
    // Dropped here, or late, the connection is in doubt.
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
            // The next user would not know whose rows he sees.
            conn.session.is_evicted = true;
            Err(MySqlError::UnknownOutcome(Some(Box::new(cause))))
        }
    }
}

/// A connection in doubt, or closed, is rolled back by the server: the first once it is told to stop, the second by itself.
pub(crate) async fn roll_back(conn: &mut MySqlConn, time: Duration) -> Result<(), MySqlError> {
    let MySqlConn { conn, session, .. } = conn;
    if session.check_usable(conn).is_err() {
        return Ok(());
    }
    // Dropped here, or late, the connection is in doubt.
    match timeout(time, session.run(Activity::Idle, conn.query_drop("ROLLBACK"))).await {
        Ok(outcome) => outcome?,
        Err(_late) => return Err(MySqlError::TimedOut { what: "the ROLLBACK", after: time }),
    }
    session.transaction = TransactionState::None;
    (session.undo, session.savepoints) = (None, 0);
    Ok(())
}
