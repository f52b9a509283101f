//! Which server a connection reaches, and how long connecting may take.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use reqscope::{Error, Lease, Pool, Resource};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Opts, OptsBuilder};
use reqscope_mysql::{MySql, MySqlBuilder, MySqlConn, MySqlError};
use reqscope_testkit::MariaDb;
use tokio::time::timeout;

use crate::with_server::support::{PATIENCE, shared};

/// A second address of this machine, on which only tests listen.
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Creates a builder for a name that resolves to these addresses, with the port of this server.
fn name_for(server: &MariaDb, addresses: &[Ipv4Addr]) -> MySqlBuilder {
    let addresses: Vec<_> = addresses.iter().map(|address| (*address).into()).collect();
    let opts = OptsBuilder::from_opts(Opts::from_url(&server.url()).unwrap());
    MySqlBuilder::from_opts(opts.ip_or_hostname("db.example").resolved_ips(Some(addresses)))
}

/// Returns the error of a connection that must fail, and how long it took.
async fn refused(mysql: MySql) -> (Error<MySqlError>, Duration) {
    let began = Instant::now();
    let outcome = timeout(PATIENCE, mysql.acquire()).await.expect("it ends");
    (outcome.expect_err("there is no server"), began.elapsed())
}

/// Returns the client's address as the server sees it.
async fn peer(conn: &mut MySqlConn) -> String {
    let asked = "SELECT host FROM information_schema.processlist WHERE id = CONNECTION_ID()";
    conn.query_first(asked).await.unwrap().unwrap()
}

/// Returns the timeout of an error that is a timeout.
fn timed_out(error: &Error<MySqlError>) -> Option<Duration> {
    match error.cause() {
        Some(MySqlError::TimedOut { after, .. }) if error.is_timeout() => Some(*after),
        _ => None,
    }
}

#[tokio::test]
async fn ipv6_address_leads_to_the_server() {
    // On a machine without IPv6, the server fails to start and reports why.
    let server = MariaDb::builder().option("bind-address", "127.0.0.1,::1").start().await.unwrap();
    let mysql = MySql::new(&format!("mysql://root@[::1]:{}/test", server.port())).unwrap();
    let mut conn = mysql.acquire().await.unwrap();
    let peer = peer(&mut conn).await;
    assert!(peer.starts_with("::1"), "{peer}");
}

#[tokio::test]
async fn unix_socket_leads_to_a_server_without_a_port() {
    let server = MariaDb::builder().option("skip_networking", 1).start().await.unwrap();
    let mysql = MySql::builder(&server.url()).unwrap().socket(server.socket().display().to_string()).build();
    let mut conn = mysql.acquire().await.unwrap();
    assert_eq!(peer(&mut conn).await, "localhost");
    assert!(format!("{mysql:?}").contains("socket"), "{mysql:?}");
}

#[tokio::test]
async fn tcp_connection_stays_on_tcp_if_the_server_has_a_socket() {
    let mut conn = MySql::new(&shared().await.url()).unwrap().acquire().await.unwrap();
    let peer = peer(&mut conn).await;
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
}

#[tokio::test]
async fn address_that_refuses_is_skipped() {
    let server = shared().await;
    let began = Instant::now();
    name_for(server, &[SECOND, Ipv4Addr::LOCALHOST]).connect_timeout(PATIENCE).build().acquire().await.unwrap();
    assert!(began.elapsed() < PATIENCE / 4, "it must not be waited for");
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let server = shared().await;
    let localhost = server.url().replace("127.0.0.1", "localhost");
    // On many machines it also resolves to `::1`, where this server does not listen.
    MySql::new(&localhost).unwrap().acquire().await.unwrap();
}

/// An address that never answers uses up its share of the connect timeout, and leaves the rest to the next address.
#[tokio::test]
async fn silent_address_uses_only_its_share_of_the_connect_timeout() {
    let server = shared().await;
    let silent = TcpListener::bind(SocketAddr::from((SECOND, server.port()))).unwrap();
    let began = Instant::now();
    let builder = name_for(server, &[SECOND, Ipv4Addr::LOCALHOST]).connect_timeout(Duration::from_secs(4));
    // It connects, so the first address has left time for the second.
    timeout(PATIENCE, builder.build().acquire()).await.expect("it ends").unwrap();
    assert!(began.elapsed() > Duration::from_millis(1_900), "half of 4 s: {:?}", began.elapsed());
    drop(silent);
}

#[tokio::test]
async fn silent_addresses_share_one_deadline() {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind((SECOND, port)).unwrap();
    let opts = OptsBuilder::default().tcp_port(port).resolved_ips(Some([Ipv4Addr::LOCALHOST.into(), SECOND.into()]));
    let time = Duration::from_secs(1);
    let (error, took) = refused(MySqlBuilder::from_opts(opts).connect_timeout(time).build()).await;
    assert!(took >= time, "{took:?}");
    let Some(MySqlError::Unreachable { tried: 2, last, cause }) = error.cause() else { panic!("{error:?}") };
    assert_eq!(*last, SocketAddr::from((SECOND, port)));
    let MySqlError::TimedOut { after, .. } = **cause else { panic!("{error:?}") };
    assert!(after <= time / 2, "the share of the second address: {after:?}");
    drop((first, second));
}

#[tokio::test]
async fn silent_listener_costs_the_connect_timeout() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("mysql://root@{}/test", silent.local_addr().unwrap());
    let time = Duration::from_millis(300);
    let (error, took) = refused(MySql::builder(&url).unwrap().connect_timeout(time).build()).await;
    assert!(took >= time && took < PATIENCE / 4, "{took:?}");
    assert_eq!(timed_out(&error), Some(time), "{error:?}");
}

#[tokio::test]
async fn percent_encoded_password_may_have_any_special_character() {
    let server = MariaDb::start().await.unwrap();
    server.query("CREATE USER odd IDENTIFIED BY 'p@ss/w?rd%#:'").await.unwrap();
    let url = format!("mysql://odd:p%40ss%2Fw%3Frd%25%23%3A@{}", server.address());
    let mut conn = MySql::new(&url).unwrap().acquire().await.unwrap();
    let user: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap();
    assert_eq!(user.as_deref(), Some("odd@%"));
}

#[tokio::test]
async fn each_user_gets_text_in_the_configured_charset() {
    let mysql = MySql::builder(&shared().await.url()).unwrap().charset("latin1").build();
    let pool = std::sync::Arc::new(Pool::builder().max_size(1).build(mysql));
    for _user in 0..2 {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        let text: Option<Vec<u8>> = lease.query_first("SELECT CONVERT(x'C3A9' USING utf8mb4)").await.unwrap();
        assert_eq!(text.unwrap(), [0xE9]);
        Lease::complete(lease).await.unwrap();
    }
}

#[tokio::test]
async fn timeout_that_overflows_the_clock_never_passes() {
    let builder = MySql::builder(&shared().await.url()).unwrap().connect_timeout(Duration::MAX);
    let mysql = builder.operation_timeout(Duration::MAX).build();
    let mut conn = mysql.acquire().await.unwrap();
    assert_eq!(conn.query_first("SELECT 7").await.unwrap(), Some(7_u64));
}
