//! Servers that refuse writes: replicas, and primaries that became replicas.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::error::Class;
use reqscope::{Lease, Pool, Resource};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{self, Opts, OptsBuilder};
use reqscope_mysql::{MySql, MySqlBuilder, MySqlConn, MySqlError};
use reqscope_testkit::MariaDb;
use tokio::time::sleep;

use crate::with_server::support::code;

const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Creates an application's user, without the privilege that lets `root` write to a read-only server.
const APP: &str = "CREATE USER app; GRANT ALL ON test.* TO app; CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)";

fn app(server: &MariaDb) -> Opts {
    Opts::from_url(&server.url().replace("root@", "app@")).unwrap()
}

async fn set_read_only(server: &MariaDb, on: bool) {
    server.query(&format!("SET GLOBAL read_only = {}", u8::from(on))).await.unwrap();
}

/// Starts two servers on the same port of two addresses; returns the options for a name that resolves to both.
async fn pair() -> (MariaDb, MariaDb, Opts) {
    let first = MariaDb::start().await.unwrap();
    let second = MariaDb::builder().option("bind-address", SECOND).option("port", first.port());
    let second = second.start().await.unwrap();
    for server in [&first, &second] {
        server.query(APP).await.unwrap();
    }
    let both = OptsBuilder::from_opts(app(&first)).resolved_ips(Some([Ipv4Addr::LOCALHOST.into(), SECOND.into()]));
    (first, second, both.into())
}

/// Returns whether the connection leads to this server.
async fn is_on(conn: &mut MySqlConn, server: &MariaDb) -> bool {
    let socket: Option<String> = conn.query_first("SELECT @@socket").await.unwrap();
    socket.unwrap() == server.socket().display().to_string()
}

/// Does a write, which the server refuses.
async fn refused(conn: &mut MySqlConn, prepared: bool) {
    let statement = "INSERT INTO t VALUES ()";
    let outcome: Result<(), mysql_async::Error> =
        if prepared { conn.exec_drop(statement, ()).await } else { conn.query_drop(statement).await };
    let error = outcome.unwrap_err();
    // Also in the driver's type: a front end answers by the class.
    assert!(Class::find(&error).is_some_and(|class| class.is_unavailable()), "{error:?}");
    let error = MySqlError::from(error);
    assert!(error.is_read_only() && code(&error) == Some(1290), "{error:?}");
}

#[tokio::test]
async fn refused_write_is_unavailable_and_ends_its_connection() {
    let server = MariaDb::start().await.unwrap();
    server.query(APP).await.unwrap();
    let pool = Arc::new(Pool::builder().max_size(1).build(MySqlBuilder::from_opts(app(&server)).build()));

    let mut reading = Lease::acquire(&pool).await.unwrap();
    let id = reading.as_ref().id();
    set_read_only(&server, true).await;
    reading.query_drop("SELECT * FROM t").await.unwrap();
    Lease::complete(reading).await.unwrap();
    // The connection becomes old enough.
    sleep(Duration::from_millis(1100)).await;

    let mut writing = Lease::acquire(&pool).await.unwrap();
    assert_eq!(writing.as_ref().id(), id, "a connection that only reads is kept");
    refused(writing.as_mut(), false).await;
    Lease::complete(writing).await.unwrap();

    set_read_only(&server, false).await;
    let mut writing = Lease::acquire(&pool).await.unwrap();
    assert_ne!(writing.as_ref().id(), id, "a new connection after a refused write");
    writing.query_drop("INSERT INTO t VALUES ()").await.unwrap();
}

/// The fault: 484 refused transactions made 485 connections in two seconds.
#[tokio::test]
async fn refused_writes_do_not_cost_a_connection_each() {
    let server = MariaDb::start().await.unwrap();
    server.query(APP).await.unwrap();
    set_read_only(&server, true).await;
    let pool = Arc::new(Pool::builder().max_size(1).build(MySqlBuilder::from_opts(app(&server)).build()));
    let began = Instant::now();
    for turn in 0..100 {
        let mut writing = Lease::acquire(&pool).await.unwrap();
        refused(writing.as_mut(), turn % 2 == 0).await;
        Lease::fail(writing).await.unwrap();
    }
    let most = 2 + began.elapsed().as_secs();
    assert!(pool.status().created <= most, "{} in {:?}", pool.status().created, began.elapsed());
}

/// With `require_writable`, a read-only server is skipped, and used again once it accepts writes.
#[tokio::test]
async fn require_writable_skips_read_only_servers() {
    let (first, second, both) = pair().await;
    let mysql = MySqlBuilder::from_opts(both.clone()).require_writable(true).build();

    set_read_only(&first, true).await;
    assert!(is_on(&mut mysql.acquire().await.unwrap(), &second).await, "the first refuses writes");

    set_read_only(&first, false).await;
    set_read_only(&second, true).await;
    assert!(is_on(&mut mysql.acquire().await.unwrap(), &first).await, "the roles have changed");

    set_read_only(&first, true).await;
    let error = mysql.acquire().await.unwrap_err();
    assert!(error.cause().is_some_and(MySqlError::is_read_only), "both refuse writes: {error:?}");
    assert!(!error.is_permanent(), "one may become the primary");

    let reading = MySqlBuilder::from_opts(both).build();
    assert!(is_on(&mut reading.acquire().await.unwrap(), &first).await, "reading works on either");
}

#[tokio::test]
async fn pool_moves_to_the_new_primary_after_one_refused_write() {
    let (first, second, both) = pair().await;
    let mysql = MySqlBuilder::from_opts(both).require_writable(true).build();
    let pool: Arc<Pool<MySql>> = Arc::new(Pool::builder().max_size(1).build(mysql));
    let mut lease = Lease::acquire(&pool).await.unwrap();
    assert!(is_on(lease.as_mut(), &first).await);

    set_read_only(&first, true).await;
    let refused: Result<(), mysql_async::Error> = lease.query_drop("INSERT INTO t VALUES ()").await;
    assert!(MySqlError::from(refused.unwrap_err()).is_read_only());
    Lease::fail(lease).await.unwrap();

    let mut lease = Lease::acquire(&pool).await.unwrap();
    assert!(is_on(lease.as_mut(), &second).await);
    lease.query_drop("INSERT INTO t VALUES ()").await.unwrap();
}

#[tokio::test]
async fn single_read_only_server_fails_with_read_only() {
    let server = MariaDb::builder().option("read_only", 1).start().await.unwrap();
    let error = MySql::builder(&server.url()).unwrap().require_writable(true).build().acquire().await.unwrap_err();
    assert!(matches!(error.cause(), Some(MySqlError::ReadOnly)), "{error:?}");
}
