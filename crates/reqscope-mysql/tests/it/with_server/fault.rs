//! What a resource says about a connection that came back unusable.

use std::time::Duration;

use reqscope::{Exit, Health, Reset, Resource};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError};
use reqscope_testkit::{MariaDb, cancel_at};
use tokio::time::sleep;

use crate::with_server::support::{bare, mysql, shared};

/// Runs a statement that fails.
async fn fails(conn: &mut MySqlConn, statement: &str) {
    conn.query_drop(statement).await.expect_err(statement);
}

/// Returns a statement that the server answers with this error.
fn signal(code: u16, message: &str) -> String {
    format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = '{message}'")
}

/// Returns the server's code and whether the backend counts as unavailable.
fn fault(mysql: &MySql, conn: &MySqlConn) -> Option<(Option<u16>, bool)> {
    let error = mysql.fault(conn)?;
    Some((error.cause().and_then(MySqlError::server).map(|server| server.code), error.is_unavailable()))
}

#[tokio::test]
async fn connection_lost_in_use_is_a_fault() {
    let server = MariaDb::start().await.unwrap();
    let mysql = MySql::new(&server.url()).unwrap();
    let mut conn = mysql.acquire().await.unwrap();
    assert!(mysql.fault(&conn).is_none(), "nothing has happened yet");
    server.kill().await.unwrap();
    fails(&mut conn, "SELECT 1").await;
    assert_eq!(mysql.probe(&conn), Health::Dead);
    assert_eq!(fault(&mysql, &conn), Some((None, true)));
}

/// A server closes connections that are idle for long, and so does a firewall.
#[tokio::test]
async fn connection_lost_while_idle_is_no_fault() {
    let (mysql, mut eye) = (mysql().await, bare(shared().await).await);
    let mut conn = mysql.acquire().await.unwrap();
    eye.query_drop(format!("KILL {}", conn.id())).await.unwrap();
    mysql.validate(&mut conn).await.unwrap_err();
    assert_eq!(mysql.probe(&conn), Health::Dead);
    assert_eq!(fault(&mysql, &conn), None);
}

/// The user was cut, so the connection is dead, and the server is well.
#[tokio::test]
async fn cut_operation_is_no_fault() {
    let mysql = mysql().await;
    let mut conn = mysql.acquire().await.unwrap();
    fails(&mut conn, "SELECT nonsense").await;
    assert!(cancel_at(1, conn.query_drop("SELECT SLEEP(10)")).await.is_none());
    assert_eq!(mysql.probe(&conn), Health::Dead);
    assert_eq!(fault(&mysql, &conn), None);
    mysql.release(conn, Exit::Cancelled).await.unwrap();
}

#[tokio::test]
async fn refused_write_is_a_fault_if_writes_are_required() {
    let url = shared().await.url();
    for require in [false, true] {
        let mysql = MySql::builder(&url).unwrap().require_writable(require).build();
        let mut conn = mysql.acquire().await.unwrap();
        // It becomes old enough.
        sleep(Duration::from_millis(1100)).await;
        fails(&mut conn, &signal(1290, "The server is running with the --read-only option")).await;
        // The user rolls back; the connection stays evicted, and the reason is kept.
        conn.query_drop("ROLLBACK").await.unwrap();
        assert_eq!(mysql.probe(&conn), Health::Dead, "{require}");
        assert_eq!(fault(&mysql, &conn), require.then_some((Some(1290), true)));
    }
}

#[tokio::test]
async fn shutdown_is_a_fault_until_an_operation_succeeds() {
    let mysql = mysql().await;
    let mut conn = mysql.acquire().await.unwrap();
    fails(&mut conn, &signal(1053, "Server shutdown in progress")).await;
    assert_eq!(fault(&mysql, &conn), Some((Some(1053), true)));
    conn.query_drop("SELECT 1").await.unwrap();
    assert_eq!(fault(&mysql, &conn), None);
}

#[tokio::test]
async fn pool_of_connections_resets_them_unless_set() {
    assert_eq!(mysql().await.reset(), Reset::Always);
}
