//! Helpers of the tests, and one server for the tests that only use it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{self, Conn, Opts};
use reqscope_mysql::{Connections, HasConnection, MySql, MySqlConn, MySqlError};
use reqscope_testkit::MariaDb;
use tokio::sync::OnceCell;

/// A limit longer than anything here takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the server of the tests that leave it as they find it; it ends with this process. A test that stops the
/// server, fills it up or counts what runs on it starts its own.
pub(crate) async fn shared() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    let started =
        || async { MariaDb::builder().option("max_connections", 500).start().await.expect("MariaDB starts") };
    SERVER.get_or_init(started).await
}

/// Creates a resource for the shared server.
pub(crate) async fn mysql() -> MySql {
    MySql::new(&shared().await.url()).expect("the server's own URL")
}

/// Creates a pool of connections to the shared server.
pub(crate) async fn pool(size: usize) -> Arc<Pool<MySql>> {
    Arc::new(Pool::builder().max_size(size).build(mysql().await))
}

/// Creates a pool of connections to a server of the test's own.
pub(crate) fn server_pool(server: &MariaDb, size: usize) -> Arc<Pool<MySql>> {
    Arc::new(Pool::builder().max_size(size).build(MySql::new(&server.url()).expect("the server's own URL")))
}

/// Opens a bare connection of the driver, to observe the server from outside.
pub(crate) async fn bare(server: &MariaDb) -> Conn {
    Conn::new(Opts::from_url(&server.url()).expect("the server's own URL")).await.expect("it connects")
}

/// Creates an empty table with this name on the shared server: a key and a number.
pub(crate) async fn table(name: &str) {
    table_on(shared().await, name).await;
}

pub(crate) async fn table_on(server: &MariaDb, name: &str) {
    let made = format!("CREATE OR REPLACE TABLE {name} (id INT PRIMARY KEY, n INT NOT NULL) ENGINE = InnoDB");
    bare(server).await.query_drop(made).await.expect("a new table");
}

/// Returns how many rows of the table are committed.
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

/// Returns the error of an operation that must be refused, as an error of this crate.
pub(crate) fn refusal<T: Debug>(outcome: Result<T, mysql_async::Error>) -> MySqlError {
    MySqlError::from(outcome.expect_err("it is refused"))
}

/// Returns the code of the server's error.
pub(crate) fn code(error: &MySqlError) -> Option<u16> {
    error.server().map(|error| error.code)
}

/// Returns the statement that the connection with this id runs, or `None` if the connection has ended.
pub(crate) async fn doing(eye: &mut Conn, id: u64) -> Option<String> {
    let asked = "SELECT COALESCE(info, '') FROM information_schema.processlist WHERE id = ?";
    eye.exec_first(asked, (id,)).await.expect("an answer")
}

/// Waits until the server runs `statement` on this connection.
pub(crate) async fn until_at_work(eye: &mut Conn, id: u64, statement: &str) {
    let began = Instant::now();
    while !doing(eye, id).await.is_some_and(|doing| doing.contains(statement)) {
        assert!(began.elapsed() < PATIENCE, "the server never began {statement}");
    }
}

/// Waits until the server has ended this connection.
pub(crate) async fn until_gone(eye: &mut Conn, id: u64) {
    let began = Instant::now();
    while let Some(doing) = doing(eye, id).await {
        assert!(began.elapsed() < PATIENCE, "connection {id} is still there: {doing}");
    }
}

/// Runs the operation until the server works on it, then drops it.
pub(crate) async fn cut_at_work<T>(eye: &mut Conn, id: u64, statement: &str, operation: impl Future<Output = T>) {
    tokio::select! {
        _ = operation => panic!("it ended before it could be cut"),
        () = until_at_work(eye, id, statement) => {}
    }
}

/// Checks that the next user of this resource gets correct answers, and returns the id of its connection.
pub(crate) async fn next_user_is_served<R>(resource: &Arc<R>) -> u64
where
    R: Connections<Connection = MySqlConn>,
{
    let mut next = Lease::acquire(resource).await.expect("a connection");
    let conn = next.connection_mut();
    for question in 1000..1003_u64 {
        let answer: Option<u64> = conn.query_first(format!("SELECT {question}")).await.expect("an answer");
        assert_eq!(answer, Some(question));
        let answer: Option<u64> = conn.exec_first("SELECT ?", (question,)).await.expect("an answer");
        assert_eq!(answer, Some(question));
    }
    let id = conn.id();
    Lease::complete(next).await.expect("it goes back");
    id
}

/// Checks that the outcome is an error with this cause.
macro_rules! assert_refused {
    ($outcome:expr, $cause:pat $(, $after:expr)?) => {
        let error = $outcome.unwrap_err();
        assert!(matches!(error.cause(), Some($cause)), "{error:?} {:?}", ($($after)?));
    };
}
pub(crate) use assert_refused;
