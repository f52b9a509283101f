//! The largest packet is what the server allows, as for the bare driver.

use std::sync::Arc;

use reqscope::Lease;
use reqscope_mysql::MySql;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_testkit::MariaDb;

async fn server(max_allowed_packet: u32) -> MariaDb {
    MariaDb::builder().option("max_allowed_packet", max_allowed_packet).start().await.expect("MariaDB starts")
}

/// The fault: the limit was 16 MiB, whatever the server allows.
#[tokio::test]
async fn row_that_the_server_allows_is_read() {
    let server = server(64 << 20).await;
    let mut conn = Lease::acquire(&Arc::new(MySql::new(&server.url()).unwrap())).await.unwrap();
    let row: Option<String> = conn.query_first("SELECT REPEAT('x', 20 << 20)").await.unwrap();
    assert_eq!(row.map(|row| row.len()), Some(20 << 20));
    Lease::complete(conn).await.unwrap();
}

/// The driver divides a batch into packets of the limit. The fault: into larger ones, which closed the connection.
#[tokio::test]
async fn batch_above_the_servers_limit_is_divided() {
    let server = server(1 << 20).await;
    let mut conn = Lease::acquire(&Arc::new(MySql::new(&server.url()).unwrap())).await.unwrap();
    conn.query_drop("CREATE TEMPORARY TABLE texts (text LONGTEXT)").await.unwrap();
    let rows = (0..50).map(|_row| ("x".repeat(100_000),));
    conn.exec_batch("INSERT INTO texts VALUES (?)", rows).await.unwrap();
    let length = conn.query_first("SELECT SUM(LENGTH(text)) FROM texts").await.unwrap();
    assert_eq!(length, Some(5_000_000_u64));
    Lease::complete(conn).await.unwrap();
}
