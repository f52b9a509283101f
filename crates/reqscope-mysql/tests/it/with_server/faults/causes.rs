//! The faults, each caused on a server of its own.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Conn, Opts};
use reqscope_mysql::{MySql, Transaction, TransactionExt};
use reqscope_testkit::{Direction, FaultProxy, MariaDb, until};
use tokio::time::{Instant, sleep, timeout};

use super::answer::{Answer, ask, first_good, kind, no_answer, request};
use super::table::{Cell, Row};
use crate::with_server::support::PATIENCE;

/// The timeouts that the table is measured with, in place of defaults that would make the test long.
const SHORT: Duration = Duration::from_secs(1);
/// How long the server is frozen.
const FROZEN: Duration = Duration::from_secs(10);
/// A statement that runs until it is stopped.
const LONG: &str = "SELECT SLEEP(60)";
const ASKING: &str = "SELECT 1";
const WRITING: &str = "INSERT INTO t VALUES ()";

fn mysql(url: &str) -> MySql {
    MySql::builder(url).unwrap().connect_timeout(SHORT).operation_timeout(SHORT).build()
}

fn pool(url: &str, size: usize) -> Arc<Pool<MySql>> {
    Arc::new(Pool::builder().max_size(size).acquire_timeout(3 * SHORT).build(mysql(url)))
}

/// Starts a server and waits until it is more than a second old: two starts within a second would count as one run.
async fn server() -> MariaDb {
    let server = MariaDb::start().await.unwrap();
    sleep(Duration::from_millis(1_100)).await;
    server
}

/// Creates an application's user, without the privileges that make `root` an exception, and returns its URL.
async fn app(server: &MariaDb) -> String {
    server.query("CREATE USER app; GRANT ALL ON test.* TO app").await.unwrap();
    server.url().replace("root@", "app@")
}

/// Gives the pool one idle connection, which was used just now.
async fn warm(pool: &Arc<Pool<MySql>>) {
    assert!(ask(pool).await.is_good, "the server works");
    until(PATIENCE, || pool.status().idle == 1).await;
}

fn cell(answer: Answer) -> Cell {
    Cell { what: answer.what, after: answer.after }
}

/// Measures when requests are served again, and over which connection.
async fn again(pool: &Arc<Pool<MySql>>, statement: &str) -> Cell {
    let after = first_good(pool, statement).await;
    over(pool, after)
}

fn over(pool: &Pool<MySql>, after: Duration) -> Cell {
    let what = if pool.status().created == 1 { "over the same connection" } else { "over a new connection" };
    Cell { what: what.to_owned(), after }
}

/// Runs a statement that does not end; returns its error and when it came.
fn in_a_statement(pool: &Arc<Pool<MySql>>) -> tokio::task::JoinHandle<(String, Instant)> {
    let pool = Arc::clone(pool);
    tokio::spawn(async move {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        lease.set_operation_timeout(None);
        let error = lease.query_drop(LONG).await.expect_err("it is stopped");
        let ended = Instant::now();
        drop(Lease::fail(lease).await);
        (no_answer(&error.into()), ended)
    })
}

async fn running(server: &MariaDb) -> String {
    let asked = format!("SELECT id FROM information_schema.processlist WHERE info LIKE '{LONG}'");
    server.query(&asked).await.unwrap()
}

/// Waits until the server runs the statement, and returns the id of its connection.
async fn until_it_runs(server: &MariaDb) -> String {
    timeout(PATIENCE, async {
        loop {
            match running(server).await {
                none if none.is_empty() => sleep(Duration::from_millis(1)).await,
                id => return id,
            }
        }
    })
    .await
    .expect("the statement runs")
}

pub(super) async fn stopped() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    server.stop().await.unwrap();
    down("server stopped", &server, &pool).await
}

pub(super) async fn killed() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    server.kill().await.unwrap();
    down("server killed (`kill -9`)", &server, &pool).await
}

/// Measures a fault that lasts until the server is restarted.
async fn down(fault: &'static str, server: &MariaDb, pool: &Arc<Pool<MySql>>) -> Row {
    let first = cell(ask(pool).await);
    let later = cell(ask(pool).await);
    server.restart().await.unwrap();
    let again = again(pool, ASKING).await;
    Row { fault, first, later, again }
}

pub(super) async fn restarted_just_now() -> Row {
    let server = server().await;
    // A restart may take longer than the idle time after which a connection is validated.
    let pool = Pool::builder().max_size(2).validate_after(Duration::MAX).build(mysql(&server.url()));
    let pool = Arc::new(pool);
    warm(&pool).await;
    server.restart().await.unwrap();
    point("server restarted, connection used less than 1 s ago", &pool).await
}

pub(super) async fn restarted_while_idle() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    server.restart().await.unwrap();
    sleep(Duration::from_millis(1_200)).await;
    point("server restarted, connection idle", &pool).await
}

/// Measures a fault that is over before the next request.
async fn point(fault: &'static str, pool: &Arc<Pool<MySql>>) -> Row {
    let first = ask(pool).await;
    let again = if first.is_good { over(pool, first.after) } else { again(pool, ASKING).await };
    let later = cell(ask(pool).await);
    Row { fault, first: cell(first), later, again }
}

pub(super) async fn restarted_in_a_statement() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    let statement = in_a_statement(&pool);
    until_it_runs(&server).await;
    let began = Instant::now();
    server.stop().await.unwrap();
    let (what, ended) = statement.await.unwrap();
    let first = Cell { what, after: ended - began };
    let later = cell(ask(&pool).await);
    server.restart().await.unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "server restarted during a statement", first, later, again }
}

pub(super) async fn frozen() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    server.freeze().unwrap();
    let end = Instant::now() + FROZEN;
    let first = cell(ask(&pool).await);
    let later = worst_until(&pool, end).await;
    server.thaw().unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "server frozen for 10 s (`SIGSTOP`)", first, later, again }
}

/// Sends requests one after the other until `end`, and returns the slowest outcome.
async fn worst_until(pool: &Arc<Pool<MySql>>, end: Instant) -> Cell {
    let mut worst = ask(pool).await;
    while Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
        let next = ask(pool).await;
        assert!(!next.is_good, "no answer is possible");
        worst = if next.after > worst.after { next } else { worst };
    }
    cell(worst)
}

pub(super) async fn closed_for_being_idle() -> Row {
    let server = MariaDb::builder().option("wait_timeout", 2).start().await.unwrap();
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    // This is the pooled connection; the control connection is not closed.
    let closed =
        "SELECT VARIABLE_VALUE FROM information_schema.global_status WHERE VARIABLE_NAME = 'ABORTED_CLIENTS'";
    while server.query(closed).await.unwrap() == "0" {
        sleep(Duration::from_millis(100)).await;
    }
    point("idle connection closed by the server (`wait_timeout`)", &pool).await
}

pub(super) async fn killed_by_an_administrator() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    let statement = in_a_statement(&pool);
    let id = until_it_runs(&server).await;
    let began = Instant::now();
    server.query(&format!("KILL {id}")).await.unwrap();
    let (what, ended) = statement.await.unwrap();
    let first = Cell { what, after: ended - began };
    let later = cell(ask(&pool).await);
    let again = again(&pool, ASKING).await;
    Row { fault: "connection killed during a statement (`KILL`)", first, later, again }
}

pub(super) async fn silent_network() -> Row {
    let server = server().await;
    let proxy = FaultProxy::start(server.address()).unwrap();
    let pool = pool(&format!("mysql://root@{}/test", proxy.addr()), 2);
    warm(&pool).await;
    proxy.all().black_hole(Direction::Both);
    let first = cell(ask(&pool).await);
    let later = worst_until(&pool, Instant::now() + 3 * SHORT).await;
    proxy.heal().unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "network silent", first, later, again }
}

pub(super) async fn silent_network_during_a_commit() -> Row {
    let server = server().await;
    server.query("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let proxy = FaultProxy::start(server.address()).unwrap();
    let pool = pool(&format!("mysql://root@{}/test", proxy.addr()), 2);
    warm(&pool).await;
    let writing = Arc::new(Transaction::new(Arc::clone(&pool)).commit_timeout(SHORT));
    let mut tx = Lease::acquire(&writing).await.unwrap();
    tx.exec_drop("INSERT INTO t VALUES (1)", ()).await.unwrap();
    proxy.all().black_hole(Direction::Both);
    let began = Instant::now();
    let error = Lease::complete(tx).await.expect_err("the COMMIT gets no answer");
    let first = Cell { what: format!("the release fails: {}", kind(&error)), after: began.elapsed() };
    let later = worst_until(&pool, Instant::now() + 3 * SHORT).await;
    proxy.heal().unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "network silent during a COMMIT", first, later, again }
}

pub(super) async fn full() -> Row {
    // The minimum that MariaDB accepts.
    let server = MariaDb::builder().option("max_connections", 10).start().await.unwrap();
    let url = app(&server).await;
    let pool = pool(&url, 2);
    let held = Lease::acquire(&pool).await.unwrap();
    let mut others = Vec::new();
    let mut refused = 0;
    // The server may still count a connection that has just ended, and refuse one of these meanwhile.
    while refused < 20 {
        match Conn::new(Opts::from_url(&url).unwrap()).await {
            Ok(other) => others.push(other),
            Err(_) => {
                refused += 1;
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    let first = cell(ask(&pool).await);
    let later = cell(ask(&pool).await);
    others.pop().expect("one of them").disconnect().await.unwrap();
    let again = again(&pool, ASKING).await;
    drop((held, others));
    Row { fault: "`max_connections` reached, one pooled connection in use", first, later, again }
}

pub(super) async fn hung_up() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 1);
    warm(&pool).await;
    let mut lease = Lease::acquire(&pool).await.unwrap();
    {
        let statement = lease.query_drop(LONG);
        tokio::select! {
            biased;
            ended = statement => panic!("it ended too early: {ended:?}"),
            _id = until_it_runs(&server) => {}
        }
    }
    drop(lease);
    // The only slot becomes free once the server has stopped the statement.
    let next = ask(&pool).await;
    let is_stopped = running(&server).await.is_empty();
    let what = format!("disconnected; the statement {}", if is_stopped { "is stopped" } else { "still runs" });
    let (first, again) = (Cell { what, after: next.after }, over(&pool, next.after));
    Row { fault: "client hangs up during a statement", first, later: cell(next), again }
}

pub(super) async fn read_only() -> Row {
    let server = server().await;
    let url = app(&server).await;
    server.query("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)").await.unwrap();
    let pool = pool(&url, 2);
    warm(&pool).await;
    server.query("SET GLOBAL read_only = 1").await.unwrap();
    let first = cell(request(&pool, WRITING).await);
    let later = cell(request(&pool, WRITING).await);
    server.query("SET GLOBAL read_only = 0").await.unwrap();
    let again = again(&pool, WRITING).await;
    Row { fault: "server made read-only", first, later, again }
}
