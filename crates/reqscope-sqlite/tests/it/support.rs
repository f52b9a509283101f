//! A database with one table, and what the tests ask of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqscope::Lease;
use reqscope_sqlite::rusqlite::{self, Connection};
use reqscope_sqlite::{Sqlite, SqliteBuilder, SqliteConn, SqliteError, Transaction};
use reqscope_testkit::until;

/// For what must happen, on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs until it is stopped.
pub(crate) const FOREVER: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

pub(crate) fn with_table() -> SqliteBuilder {
    Sqlite::builder()
        .on_open(|db| db.execute_batch("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)"))
}

pub(crate) fn sqlite() -> Arc<Sqlite> {
    Arc::new(with_table().build_temporary().unwrap())
}

pub(crate) fn writing(sqlite: &Arc<Sqlite>) -> Arc<Transaction<Sqlite>> {
    Arc::new(Transaction::new(Arc::clone(sqlite)))
}

pub(crate) fn reading(sqlite: &Arc<Sqlite>) -> Arc<Transaction<Sqlite>> {
    Arc::new(Transaction::read_only(Arc::clone(sqlite)))
}

pub(crate) async fn insert(conn: &mut SqliteConn, v: i64) -> Result<usize, SqliteError> {
    conn.call(move |db| db.execute("INSERT INTO t (v) VALUES (?1)", [v])).await
}

pub(crate) async fn count(conn: &mut SqliteConn) -> i64 {
    conn.call(|db| db.query_row("SELECT count(*) FROM t", (), |row| row.get(0))).await.unwrap()
}

/// How many rows somebody else sees.
pub(crate) async fn rows(sqlite: &Arc<Sqlite>) -> i64 {
    let mut conn = Lease::acquire(sqlite).await.unwrap();
    let rows = count(&mut conn).await;
    Lease::complete(conn).await.unwrap();
    rows
}

/// A connection that is none of ours: to SQLite it is the same as another process.
pub(crate) fn stranger(sqlite: &Sqlite) -> Connection {
    Connection::open(sqlite.path()).unwrap()
}

/// Waits until no connection to it is open any more: the last one to close removes the log.
pub(crate) async fn all_closed(path: &Path) {
    let log = path.with_extension("db-wal");
    until(PATIENCE, || !log.exists()).await;
}

/// Says on a channel that it has begun, then runs for ever.
pub(crate) fn endless(
    begun: tokio::sync::oneshot::Sender<()>,
) -> impl FnOnce(&mut Connection) -> rusqlite::Result<i64> + Send + 'static {
    move |db| {
        let mut statement = db.prepare(FOREVER)?;
        begun.send(()).unwrap();
        statement.query_row((), |row| row.get(0))
    }
}
