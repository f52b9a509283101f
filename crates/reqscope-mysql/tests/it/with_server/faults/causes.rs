//! Each fault, caused on a server of its own.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Conn, Opts};
use reqscope_mysql::{MySql, Transaction};
use reqscope_testkit::{Direction, FaultProxy, MariaDb, until};
use tokio::time::{Instant, sleep, timeout};

use super::answer::{Answer, ask, first_good, kind, no_answer, request};
use super::table::{Cell, Row};
use crate::with_server::support::PATIENCE;

/// What the table says that it is measured with: the defaults, but for these, which would make it a long test.
const SHORT: Duration = Duration::from_secs(1);
/// How long the server is frozen.
const FROZEN: Duration = Duration::from_secs(10);
/// A statement that goes on until somebody stops it.
const LONG: &str = "SELECT SLEEP(60)";
const ASKING: &str = "SELECT 1";
const WRITING: &str = "INSERT INTO t VALUES ()";

fn mysql(url: &str) -> MySql {
    MySql::builder(url).unwrap().connect_timeout(SHORT).operation_timeout(SHORT).build()
}

fn pool(url: &str, size: usize) -> Arc<Pool<MySql>> {
    Arc::new(MySql::pool_builder().max_size(size).acquire_timeout(3 * SHORT).build(mysql(url)))
}

/// One that is more than a second old: a server that is started twice within a second is taken for one.
async fn server() -> MariaDb {
    let server = MariaDb::start().await.unwrap();
    sleep(Duration::from_millis(1_100)).await;
    server
}

/// A user as an application has it: without the privileges that make `root` an exception.
async fn app(server: &MariaDb) -> String {
    server.query("CREATE USER app; GRANT ALL ON test.* TO app").await.unwrap();
    server.url().replace("root@", "app@")
}

/// Has one idle connection, which was used just now.
async fn warm(pool: &Arc<Pool<MySql>>) {
    assert!(ask(pool).await.is_good, "the server works");
    until(PATIENCE, || pool.status().idle == 1).await;
}

fn cell(answer: Answer) -> Cell {
    Cell { what: answer.what, after: answer.after }
}

/// When it is served again, and what that took.
async fn again(pool: &Arc<Pool<MySql>>, statement: &str) -> Cell {
    let after = first_good(pool, statement).await;
    over(pool, after)
}

fn over(pool: &Pool<MySql>, after: Duration) -> Cell {
    let what = if pool.status().created == 1 { "over the same connection" } else { "over a new connection" };
    Cell { what: what.to_owned(), after }
}

/// Runs a statement that does not end, and says what came of it and how long after the fault.
fn in_a_statement(pool: &Arc<Pool<MySql>>) -> tokio::task::JoinHandle<(String, Instant)> {
    let pool = Arc::clone(pool);
    tokio::spawn(async move {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        lease.set_operation_timeout(None);
        let error = lease.query_drop(LONG).await.expect_err("somebody stops it");
        let ended = Instant::now();
        drop(Lease::fail(lease).await);
        (no_answer(&error.into()), ended)
    })
}

async fn running(server: &MariaDb) -> String {
    let asked = format!("SELECT id FROM information_schema.processlist WHERE info LIKE '{LONG}'");
    server.query(&asked).await.unwrap()
}

/// Until the server works on the statement: the number of its connection.
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

async fn down(fault: &'static str, server: &MariaDb, pool: &Arc<Pool<MySql>>) -> Row {
    let meets = cell(ask(pool).await);
    let meanwhile = cell(ask(pool).await);
    server.restart().await.unwrap();
    let again = again(pool, ASKING).await;
    Row { fault, meets, meanwhile, again }
}

pub(super) async fn restarted_just_now() -> Row {
    let server = server().await;
    // A restart may take longer than a connection may be idle before it is looked at again.
    let pool = MySql::pool_builder().max_size(2).validate_after(Duration::MAX).build(mysql(&server.url()));
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

/// What is over before the next one asks.
async fn point(fault: &'static str, pool: &Arc<Pool<MySql>>) -> Row {
    let meets = ask(pool).await;
    let again = if meets.is_good { over(pool, meets.after) } else { again(pool, ASKING).await };
    let meanwhile = cell(ask(pool).await);
    Row { fault, meets: cell(meets), meanwhile, again }
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
    let meets = Cell { what, after: ended - began };
    let meanwhile = cell(ask(&pool).await);
    server.restart().await.unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "server restarted in the middle of a statement", meets, meanwhile, again }
}

pub(super) async fn frozen() -> Row {
    let server = server().await;
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    server.freeze().unwrap();
    let end = Instant::now() + FROZEN;
    let meets = cell(ask(&pool).await);
    let meanwhile = worst_until(&pool, end).await;
    server.thaw().unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "server frozen for 10 s (`SIGSTOP`)", meets, meanwhile, again }
}

/// Of those who come one after the other until then, the one who waits longest.
async fn worst_until(pool: &Arc<Pool<MySql>>, end: Instant) -> Cell {
    let mut worst = ask(pool).await;
    while Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
        let next = ask(pool).await;
        assert!(!next.is_good, "nobody can have answered");
        worst = if next.after > worst.after { next } else { worst };
    }
    cell(worst)
}

pub(super) async fn closed_for_being_idle() -> Row {
    let server = MariaDb::builder().option("wait_timeout", 2).start().await.unwrap();
    let pool = pool(&server.url(), 2);
    warm(&pool).await;
    // It is ours; the one that stops statements is not closed.
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
    let meets = Cell { what, after: ended - began };
    let meanwhile = cell(ask(&pool).await);
    let again = again(&pool, ASKING).await;
    Row { fault: "connection killed in a statement (`KILL`)", meets, meanwhile, again }
}

pub(super) async fn swallowed() -> Row {
    let server = server().await;
    let proxy = FaultProxy::start(server.address()).unwrap();
    let pool = pool(&format!("mysql://root@{}/test", proxy.addr()), 2);
    warm(&pool).await;
    proxy.all().black_hole(Direction::Both);
    let meets = cell(ask(&pool).await);
    let meanwhile = worst_until(&pool, Instant::now() + 3 * SHORT).await;
    proxy.heal().unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "network swallows everything", meets, meanwhile, again }
}

pub(super) async fn swallowed_in_a_commit() -> Row {
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
    let error = Lease::complete(tx).await.expect_err("nobody hears of the COMMIT");
    let meets = Cell { what: format!("the release fails: {}", kind(&error)), after: began.elapsed() };
    let meanwhile = worst_until(&pool, Instant::now() + 3 * SHORT).await;
    proxy.heal().unwrap();
    let again = again(&pool, ASKING).await;
    Row { fault: "network swallows everything during a COMMIT", meets, meanwhile, again }
}

pub(super) async fn full() -> Row {
    // Less the server does not take.
    let server = MariaDb::builder().option("max_connections", 10).start().await.unwrap();
    let url = app(&server).await;
    let pool = pool(&url, 2);
    let held = Lease::acquire(&pool).await.unwrap();
    let mut others = Vec::new();
    while let Ok(other) = Conn::new(Opts::from_url(&url).unwrap()).await {
        others.push(other);
    }
    let meets = cell(ask(&pool).await);
    let meanwhile = cell(ask(&pool).await);
    others.pop().expect("one of them").disconnect().await.unwrap();
    let again = again(&pool, ASKING).await;
    drop((held, others));
    Row { fault: "`max_connections` reached, one of ours in use", meets, meanwhile, again }
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
            ended = statement => panic!("nobody stops it yet: {ended:?}"),
            _id = until_it_runs(&server) => {}
        }
    }
    drop(lease);
    // The only connection: it is free when the server has let go of the statement.
    let next = ask(&pool).await;
    let is_stopped = running(&server).await.is_empty();
    let what = format!("has gone; the statement {}", if is_stopped { "is stopped" } else { "goes on" });
    let (meets, again) = (Cell { what, after: next.after }, over(&pool, next.after));
    Row { fault: "client hangs up in a statement", meets, meanwhile: cell(next), again }
}

pub(super) async fn read_only() -> Row {
    let server = server().await;
    let url = app(&server).await;
    server.query("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)").await.unwrap();
    let pool = pool(&url, 2);
    warm(&pool).await;
    server.query("SET GLOBAL read_only = 1").await.unwrap();
    let meets = cell(request(&pool, WRITING).await);
    let meanwhile = cell(request(&pool, WRITING).await);
    server.query("SET GLOBAL read_only = 0").await.unwrap();
    let again = again(&pool, WRITING).await;
    Row { fault: "server made read-only", meets, meanwhile, again }
}
