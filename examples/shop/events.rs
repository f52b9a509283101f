//! Events for other systems: an outbox.
//!
//! An event is written in the transaction of the change that it describes, so there is no event without its change and
//! no change without its event. It is delivered after the COMMIT. A process that is killed in between leaves the event
//! in the table, and the next delivery finds it.
use reqscope::error::Chain;
use reqscope::{Lease, ScopeHandle};
use reqscope_sqlite::{SqliteConn, SqliteError};

use crate::db::Db;
use crate::error::AnyError;

/// Records an event in the caller's transaction.
pub(crate) async fn record(conn: &mut SqliteConn, kind: &'static str, body: String) -> Result<usize, SqliteError> {
    conn.call(move |sql| sql.execute("INSERT INTO events (kind, body) VALUES (?1, ?2)", (kind, body))).await
}

/// Delivers the new events once the request has succeeded: after the COMMIT, and never after a rollback.
///
/// The response does not wait for it. A shutdown does: `Scopes::drain` counts it.
pub(crate) fn deliver_after(request: &ScopeHandle, db: Db) {
    let delivery = async move {
        if let Err(error) = deliver(&db).await {
            // The events stay in the table, and the next order tries again.
            eprintln!("events were not delivered: {}", Chain(&*error));
        }
    };
    // The future comes back if the request has ended. It has not: this is called by its handler.
    request.on_completed(delivery).expect("the handler is running");
}

/// Delivers all events that have not been delivered.
///
/// They are sent before the COMMIT of the mark, so none is lost. If the COMMIT fails, they are sent again. The
/// transaction keeps its turn among the writers meanwhile, so that two deliveries do not send the same event. Where
/// sending is slow, let one task of the server deliver instead, and only wake it here.
async fn deliver(db: &Db) -> Result<(), AnyError> {
    // The request has ended, so its cells are closed. A lease belongs to this function, and an error on the way out of
    // it rolls back.
    let mut tx = Lease::acquire(&db.writing).await?;
    let events: Vec<(String, String)> = tx
        .call(|sql| {
            let mut select = sql.prepare_cached("SELECT kind, body FROM events WHERE NOT delivered ORDER BY id")?;
            select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await?;
    for (kind, body) in events {
        println!("{kind}: {body}"); // a message to a broker, for example
    }
    tx.call(|sql| sql.execute("UPDATE events SET delivered = 1 WHERE NOT delivered", ())).await?;
    Ok(Lease::complete(tx).await?) // COMMIT
}
