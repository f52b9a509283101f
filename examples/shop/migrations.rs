//! The schema, and the steps that lead to it.
//!
//! They run once, before the server accepts requests. `SqliteBuilder::on_open` is no place for them: it runs for every
//! new connection, inside the request that needs it, and a write there waits for a lock that this very request may
//! hold.
use reqscope::Scopes;
use reqscope_sqlite::SqliteConn;
use reqscope_sqlite::rusqlite::{self, Connection};

use crate::db::Db;
use crate::error::AnyError;

/// The steps, the oldest first. The database counts in its `user_version` how many of them it has seen, so append to
/// this list, and never change a step that has been released.
const STEPS: [&str; 4] = [
    // The token is readable here to keep the example small. Store a hash of it instead, as of a password.
    "CREATE TABLE users (
         id INTEGER PRIMARY KEY,
         name TEXT NOT NULL UNIQUE,
         token TEXT NOT NULL UNIQUE
     );",
    "CREATE TABLE products (
         id INTEGER PRIMARY KEY,
         name TEXT NOT NULL,
         price INTEGER NOT NULL CHECK (price >= 0),
         stock INTEGER NOT NULL CHECK (stock >= 0)
     );
     CREATE TABLE orders (
         id INTEGER PRIMARY KEY,
         buyer INTEGER NOT NULL REFERENCES users (id),
         placed_at INTEGER NOT NULL DEFAULT (unixepoch())
     );
     CREATE INDEX orders_by_buyer ON orders (buyer);
     CREATE TABLE order_lines (
         id INTEGER PRIMARY KEY,
         order_id INTEGER NOT NULL REFERENCES orders (id),
         product INTEGER NOT NULL REFERENCES products (id),
         quantity INTEGER NOT NULL CHECK (quantity > 0),
         price INTEGER NOT NULL
     );
     CREATE INDEX lines_by_order ON order_lines (order_id);",
    // Notifications for other systems. An event is committed together with the change that it describes.
    "CREATE TABLE events (
         id INTEGER PRIMARY KEY,
         kind TEXT NOT NULL,
         body TEXT NOT NULL
     );",
    "ALTER TABLE events ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0;
     CREATE INDEX undelivered_events ON events (id) WHERE NOT delivered;",
];

/// Brings the schema up to date, each step in a transaction of its own.
///
/// A step that fails is rolled back, and the database stays at the one before. Two processes that start at once are no
/// problem: the version is read in the transaction that writes the step.
pub(crate) async fn run(db: &Db, scopes: &Scopes) -> Result<(), AnyError> {
    // `Ok` commits, an error rolls back.
    while scopes.run(async |scope| next_step(&mut *scope.lazy(&db.writing).get().await?).await).await? {}
    Ok(())
}

/// Takes the next step. Returns whether there was one.
async fn next_step(conn: &mut SqliteConn) -> Result<bool, AnyError> {
    let version = conn.call(|sql| version(sql)).await?;
    let Some(step) = STEPS.get(usize::from(version)) else {
        let newer = usize::from(version) > STEPS.len();
        return if newer { Err("the database is of a newer version".into()) } else { Ok(false) };
    };
    conn.call(move |sql| {
        sql.execute_batch(step)?;
        sql.pragma_update(None, "user_version", version + 1)
    })
    .await?;
    Ok(true)
}

/// Returns how many steps the database has seen.
fn version(sql: &Connection) -> rusqlite::Result<u16> {
    sql.pragma_query_value(None, "user_version", |row| row.get(0))
}
