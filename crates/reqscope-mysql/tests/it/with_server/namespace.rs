//! Tests that break the network or the file system, in namespaces of their own, as described in CONTRIBUTING.md.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Lease, Pool, Resource};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError, Transaction, TransactionExt};
use reqscope_testkit::MariaDb;

use crate::with_server::support::PATIENCE;

fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split_whitespace()).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{program} {arguments}: {status:?}");
}

/// Checks that the test cannot affect the machine itself.
fn assert_own_namespaces() {
    let network = fs::read_to_string("/proc/net/dev").unwrap();
    let interfaces: Vec<_> = network.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(interfaces, ["lo"], "run this in a network namespace of its own");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(" shared:"), "run this in a mount namespace of its own");
    run("ip", "link set lo up");
}

/// Drops all packets from and to this port silently.
fn drop_packets(port: u16) {
    run("nft", "add table inet hole");
    // The output hook would report it to the sender.
    run("nft", "add chain inet hole input { type filter hook input priority 0 ; }");
    run("nft", &format!("add rule inet hole input tcp dport {port} drop"));
    run("nft", &format!("add rule inet hole input tcp sport {port} drop"));
}

fn timed_out(error: &MySqlError) -> bool {
    matches!(error, MySqlError::TimedOut { .. })
}

/// A network that drops all packets costs each caller its deadline and no more.
#[tokio::test]
#[ignore = "run by `cargo xtask test`, in namespaces of its own"]
async fn dropped_packets_cost_each_caller_one_deadline() {
    assert_own_namespaces();
    let server = MariaDb::start().await.unwrap();
    server.query("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let time = Duration::from_secs(1);
    let mysql = MySql::builder(&server.url()).unwrap().connect_timeout(time).operation_timeout(time).build();
    let pool = Arc::new(Pool::builder().max_size(4).build(mysql));
    let transactions = Arc::new(Transaction::new(Arc::clone(&pool)).commit_timeout(time));
    let mut conn = Lease::acquire(&pool).await.unwrap();
    let mut tx = Lease::acquire(&transactions).await.unwrap();
    tx.query_drop("INSERT INTO t VALUES (1)").await.unwrap();

    drop_packets(server.port());
    let began = Instant::now();
    let error = MySqlError::from(conn.query_drop("SELECT 1").await.unwrap_err());
    assert!(timed_out(&error), "{error:?}");
    let error = Lease::complete(tx).await.unwrap_err();
    assert!(matches!(error.cause(), Some(MySqlError::UnknownOutcome(_))), "{error:?}");
    drop(Lease::fail(conn).await);
    let error = Lease::acquire(&pool).await.unwrap_err();
    assert!(error.cause().is_some_and(timed_out), "{error:?}");
    assert!(began.elapsed() < 8 * time, "{:?}", began.elapsed());

    run("nft", "delete table inet hole");
    let began = Instant::now();
    let mut conn = loop {
        match Lease::acquire(&pool).await {
            Ok(conn) => break conn,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let answer: Option<u64> = conn.query_first("SELECT 7").await.unwrap();
    assert_eq!(answer, Some(7));
    println!("served again after {:?}", began.elapsed());
}

async fn is_on(conn: &mut MySqlConn, server: &MariaDb) -> bool {
    let socket: Option<String> = conn.query_first("SELECT @@socket").await.unwrap();
    socket.unwrap() == server.socket().display().to_string()
}

/// The name is resolved again for each connection, and all of its addresses are tried.
#[tokio::test]
#[ignore = "run by `cargo xtask test`, in namespaces of its own"]
async fn each_connection_resolves_the_name_to_all_its_addresses() {
    assert_own_namespaces();
    let second = Ipv4Addr::new(127, 0, 0, 2);
    let first = MariaDb::start().await.unwrap();
    let other = MariaDb::builder().option("bind-address", second).option("port", first.port());
    let other = other.start().await.unwrap();
    for server in [&first, &other] {
        server.query("CREATE USER app").await.unwrap();
    }
    let hosts = tempfile::NamedTempFile::new().unwrap();
    let resolve_to = |address: Ipv4Addr| fs::write(hosts.path(), format!("{address} db.reqscope.test\n")).unwrap();
    resolve_to(Ipv4Addr::LOCALHOST);
    run("mount", &format!("--bind {} /etc/hosts", hosts.path().display()));

    let mysql = MySql::new(&format!("mysql://app@db.reqscope.test:{}", first.port())).unwrap();
    assert!(is_on(&mut mysql.acquire().await.unwrap(), &first).await);
    resolve_to(second);
    assert!(is_on(&mut mysql.acquire().await.unwrap(), &other).await, "the name has moved");

    // The first address refuses.
    fs::write(hosts.path(), "::1 db.reqscope.test\n127.0.0.1 db.reqscope.test\n").unwrap();
    assert!(is_on(&mut mysql.acquire().await.unwrap(), &first).await, "every address of the name is tried");
}
