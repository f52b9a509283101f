//! What the tests have in common: one server for those that only use it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use reqscope::Pool;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{self, Conn, Opts};
use reqscope_mysql::{MySql, MySqlConn, MySqlError};
use reqscope_testkit::MariaDb;
use tokio::sync::OnceCell;

/// Longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The server of those tests that leave it as they find it; it ends with this process. Who stops it, fills it up or counts what
/// runs on it starts one of his own.
pub(crate) async fn shared() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    let started =
        || async { MariaDb::builder().option("max_connections", 500).start().await.expect("MariaDB starts") };
    SERVER.get_or_init(started).await
}

pub(crate) async fn mysql() -> MySql {
    MySql::new(&shared().await.url()).expect("the server's own URL")
}

pub(crate) async fn pool(size: usize) -> Arc<Pool<MySql>> {
    Arc::new(MySql::pool_builder().max_size(size).build(mysql().await))
}

/// The driver's connection, without anything of ours around it: for a look from outside.
pub(crate) async fn bare(server: &MariaDb) -> Conn {
    Conn::new(Opts::from_url(&server.url()).expect("the server's own URL")).await.expect("it connects")
}

/// An empty table of this name on the shared server, with a number and its key.
pub(crate) async fn table(name: &str) {
    table_on(shared().await, name).await;
}

pub(crate) async fn table_on(server: &MariaDb, name: &str) {
    let made = format!("CREATE OR REPLACE TABLE {name} (id INT PRIMARY KEY, n INT NOT NULL) ENGINE = InnoDB");
    bare(server).await.query_drop(made).await.expect("a new table");
}

/// How many rows of it are committed.
pub(crate) async fn rows(table: &str) -> u64 {
    rows_on(shared().await, table).await
}

pub(crate) async fn rows_on(server: &MariaDb, table: &str) -> u64 {
    let rows = bare(server).await.query_first(format!("SELECT count(*) FROM {table}")).await;
    rows.expect("an answer").expect("a number")
}

pub(crate) async fn insert(conn: &mut MySqlConn, table: &str, id: u32) -> Result<(), mysql_async::Error> {
    conn.exec_drop(format!("INSERT INTO {table} VALUES (?, 0)"), (id,)).await
}

/// Why it was refused, as an error of this crate.
pub(crate) fn refusal<T: Debug>(outcome: Result<T, mysql_async::Error>) -> MySqlError {
    MySqlError::from(outcome.expect_err("it is refused"))
}

/// The code of the server's own error.
pub(crate) fn code(error: &MySqlError) -> Option<u16> {
    error.server().map(|error| error.code)
}
