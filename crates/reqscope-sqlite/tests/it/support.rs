//! A database with one table, and helpers that use it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqscope::Lease;
use reqscope_sqlite::rusqlite::{self, Connection};
use reqscope_sqlite::{ReadOnly, Sqlite, SqliteBuilder, SqliteConn, SqliteError, Transaction};
use reqscope_testkit::until;

/// The limit for events that must happen, even on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A query that runs until it is stopped.
pub(crate) const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

/// Returns a builder that creates the table.
pub(crate) fn with_table() -> SqliteBuilder {
    Sqlite::builder()
        .on_open(|db| db.execute_batch("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)"))
}

/// Returns a temporary database.
pub(crate) fn sqlite() -> Arc<Sqlite> {
    Arc::new(with_table().build_temporary().unwrap())
}

/// Returns transactions that may write.
pub(crate) fn writing(sqlite: &Arc<Sqlite>) -> Arc<Transaction<Sqlite>> {
    Arc::new(Transaction::new(Arc::clone(sqlite)))
}

/// Returns transactions that only read.
pub(crate) fn reading(sqlite: &Arc<Sqlite>) -> Arc<ReadOnly<Sqlite>> {
    Arc::new(ReadOnly::new(Arc::clone(sqlite)))
}

/// Inserts a row.
pub(crate) async fn insert(conn: &mut SqliteConn, v: i64) -> Result<usize, SqliteError> {
    conn.call(move |db| db.execute("INSERT INTO t (v) VALUES (?1)", [v])).await
}

/// Returns the number of rows that a connection sees.
pub(crate) async fn count(conn: &mut SqliteConn) -> i64 {
    conn.call(|db| db.query_row("SELECT count(*) FROM t", (), |row| row.get(0))).await.unwrap()
}

/// Returns the number of rows that a new connection sees.
pub(crate) async fn rows(sqlite: &Arc<Sqlite>) -> i64 {
    let mut conn = Lease::acquire(sqlite).await.unwrap();
    let rows = count(&mut conn).await;
    Lease::complete(conn).await.unwrap();
    rows
}

/// Opens a connection that is not of this crate. To SQLite it is the same as one of another process.
pub(crate) fn other_process(sqlite: &Sqlite) -> Connection {
    Connection::open(sqlite.path()).unwrap()
}

/// Waits until no connection to this file is open. The last one to close removes the log.
pub(crate) async fn all_closed(path: &Path) {
    let log = path.with_extension("db-wal");
    until(LIMIT, || !log.exists()).await;
}

/// Returns a closure that signals its begin on a channel, and then runs until it is stopped.
pub(crate) fn endless(
    begun: tokio::sync::oneshot::Sender<()>,
) -> impl FnOnce(&mut Connection) -> rusqlite::Result<i64> + Send + 'static {
    move |db| {
        let mut statement = db.prepare(ENDLESS)?;
        begun.send(()).unwrap();
        statement.query_row((), |row| row.get(0))
    }
}
