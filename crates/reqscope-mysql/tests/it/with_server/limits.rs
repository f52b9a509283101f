//! Statements are stopped even if the server accepts no connection any more, and no other client's connection is
//! killed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Conn, Opts};
use reqscope_mysql::{MySql, MySqlError};
use reqscope_testkit::MariaDb;
use tokio::time::sleep;

use crate::with_server::support::{PATIENCE, bare, code, cut_at_work, doing, until_gone};

/// `Too many connections`.
const TOO_MANY: u16 = 1040;
/// A statement that ends only when it is stopped.
const LONG: &str = "SELECT SLEEP(600)";

/// Creates a user without the privilege that admits `root` to a full server, and returns its URL.
async fn app(server: &MariaDb) -> String {
    server.query("CREATE USER app; GRANT ALL ON test.* TO app").await.unwrap();
    server.url().replace("root@", "app@")
}

fn pool(url: &str, size: usize, time: Duration) -> Arc<Pool<MySql>> {
    Arc::new(Pool::builder().max_size(size).acquire_timeout(time).build(MySql::new(url).unwrap()))
}

/// Opens connections until the server accepts no more.
async fn fill(url: &str) -> Vec<Conn> {
    let mut others = Vec::new();
    while let Ok(other) = Conn::new(Opts::from_url(url).unwrap()).await {
        others.push(other);
    }
    others
}

/// Returns the id of the control connection: the only other connection of `app`.
async fn control_connection(server: &MariaDb, id: u64) -> u64 {
    let asked = format!("SELECT id FROM information_schema.processlist WHERE user = 'app' AND id <> {id}");
    server.query(&asked).await.unwrap().parse().expect("there is one")
}

/// Returns how often the server was asked to KILL a connection.
async fn kills(eye: &mut Conn) -> u64 {
    let asked = "SELECT VARIABLE_VALUE FROM information_schema.global_status WHERE VARIABLE_NAME = 'COM_KILL'";
    eye.query_first(asked).await.unwrap().unwrap()
}

/// Releases the lease, waits until the server has ended its connection, and checks that it was killed: by itself, the
/// server looks every 5 s whether the client is still there.
async fn assert_stops(lease: Lease<Pool<MySql>>, eye: &mut Conn) {
    let (id, before) = (lease.as_ref().id(), kills(eye).await);
    drop(lease);
    until_gone(eye, id).await;
    assert!(kills(eye).await > before, "the server has ended it by itself");
}

#[tokio::test]
async fn statement_is_stopped_when_max_connections_is_reached() {
    // The minimum that MariaDB accepts.
    let server = MariaDb::builder().option("max_connections", 10).start().await.unwrap();
    let url = app(&server).await;
    let mut eye = bare(&server).await;
    let pool = pool(&url, 1, PATIENCE);
    let mut lease = Lease::acquire(&pool).await.unwrap();
    let id = lease.as_ref().id();
    let others = fill(&url).await;
    assert!(others.len() >= 6, "{}", others.len());

    cut_at_work(&mut eye, id, LONG, lease.query_drop(LONG)).await;
    assert_stops(lease, &mut eye).await;
    let next = Lease::acquire(&pool).await.unwrap();
    assert_ne!(next.as_ref().id(), id);
    drop(others);
}

/// A caller that gets no connection learns at once that the server is full, and the pool recovers when it is not.
#[tokio::test]
async fn full_server_is_unavailable_and_the_pool_recovers() {
    let server = MariaDb::builder().option("max_connections", 10).start().await.unwrap();
    let url = app(&server).await;
    let mut others = fill(&url).await;

    let none = pool(&url, 2, PATIENCE);
    let began = Instant::now();
    let error = Lease::acquire(&none).await.unwrap_err();
    assert!(began.elapsed() < PATIENCE / 4, "it fails at once: {:?}", began.elapsed());
    assert!(error.is_unavailable() && !error.is_permanent(), "{error:?}");
    assert_eq!(error.cause().and_then(code), Some(TOO_MANY), "{error:?}");

    // One connection for the caller, and the control connection.
    others.truncate(others.len() - 2);
    let began = Instant::now();
    let first = loop {
        match Lease::acquire(&none).await {
            Ok(first) => break first,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    };
    drop((first, others));
}

/// A caller that waits without success for a connection in use learns why there was no other one.
#[tokio::test]
async fn timeout_at_a_full_server_names_the_cause() {
    let server = MariaDb::builder().option("max_connections", 10).start().await.unwrap();
    let url = app(&server).await;
    let pool = pool(&url, 2, Duration::from_secs(2));
    let held = Lease::acquire(&pool).await.unwrap();
    let others = fill(&url).await;

    let error = Lease::acquire(&pool).await.unwrap_err();
    assert!(error.is_timeout(), "one was in use and might have been returned: {error:?}");
    assert!(error.to_string().contains(&TOO_MANY.to_string()), "{error}");

    let (next, ()) = tokio::join!(Lease::acquire(&pool), async {
        sleep(Duration::from_millis(20)).await;
        Lease::complete(held).await.unwrap();
    });
    drop((next.unwrap(), others));
}

/// Returns a lease whose statement was cut while the server runs it.
async fn cut(pool: &Arc<Pool<MySql>>, eye: &mut Conn) -> (Lease<Pool<MySql>>, u64) {
    let mut lease = Lease::acquire(pool).await.unwrap();
    let id = lease.as_ref().id();
    cut_at_work(eye, id, LONG, lease.query_drop(LONG)).await;
    (lease, id)
}

#[tokio::test]
async fn control_connection_is_reopened_after_it_was_killed() {
    let server = MariaDb::start().await.unwrap();
    let pool = pool(&app(&server).await, 1, PATIENCE);
    let mut eye = bare(&server).await;
    let (lease, id) = cut(&pool, &mut eye).await;
    let first = control_connection(&server, id).await;
    server.query(&format!("KILL {first}")).await.unwrap();
    until_gone(&mut eye, first).await;

    // The release that opens another one succeeds.
    let before = kills(&mut eye).await;
    Lease::fail(lease).await.unwrap();
    until_gone(&mut eye, id).await;
    assert!(kills(&mut eye).await > before, "the server has ended it by itself");
    let second = control_connection(&server, id).await;
    assert_ne!(second, first);

    // The new one is kept like the first.
    let (lease, id) = cut(&pool, &mut eye).await;
    assert_stops(lease, &mut eye).await;
    assert_eq!(control_connection(&server, id).await, second);
}

/// The fault: the server was taken for one that was restarted, and the statement ran on while its slot was free.
#[tokio::test]
async fn statement_is_stopped_although_a_client_moved_uuid_short() {
    let server = MariaDb::start().await.unwrap();
    let pool = pool(&app(&server).await, 1, PATIENCE);
    let mut eye = bare(&server).await;
    let (lease, id) = cut(&pool, &mut eye).await;
    let control = control_connection(&server, id).await;
    let start = "SELECT UUID_SHORT() >> 24";
    let before: Option<u64> = eye.query_first(start).await.unwrap();
    server.query("DO BENCHMARK(20000000, UUID_SHORT())").await.unwrap();
    assert_ne!(eye.query_first::<u64, _>(start).await.unwrap(), before);
    server.query(&format!("KILL {control}")).await.unwrap();
    until_gone(&mut eye, control).await;
    assert_stops(lease, &mut eye).await;
}

#[tokio::test]
async fn control_connection_outlives_the_servers_wait_timeout() {
    let server = MariaDb::builder().option("wait_timeout", 1).start().await.unwrap();
    let pool = pool(&app(&server).await, 1, PATIENCE);
    let mut eye = bare(&server).await;
    eye.query_drop("SET SESSION wait_timeout = 600").await.unwrap();
    let mut lease = Lease::acquire(&pool).await.unwrap();
    let id = lease.as_ref().id();
    let control = control_connection(&server, id).await;

    lease.query_drop("SELECT SLEEP(2.5)").await.unwrap();
    assert!(doing(&mut eye, control).await.is_some(), "it was idle for longer than wait_timeout");
    cut_at_work(&mut eye, id, LONG, lease.query_drop(LONG)).await;
    assert_stops(lease, &mut eye).await;
    assert!(doing(&mut eye, control).await.is_some());
}

#[tokio::test]
async fn statements_are_stopped_after_a_restart_too() {
    let server = MariaDb::start().await.unwrap();
    let pool = pool(&app(&server).await, 1, PATIENCE);
    drop(cut(&pool, &mut bare(&server).await).await);
    server.restart().await.unwrap();

    let mut eye = bare(&server).await;
    let (lease, _id) = cut(&pool, &mut eye).await;
    assert_stops(lease, &mut eye).await;
}

/// After a restart, another client's connection may have the id of the cut one. It must not be killed.
#[tokio::test]
async fn same_id_after_a_restart_is_not_killed() {
    let server = MariaDb::start().await.unwrap();
    let url = app(&server).await;
    // Use up ids, so that the next run has not assigned this one before the server is ready.
    for _ in 0..20 {
        bare(&server).await.disconnect().await.unwrap();
    }
    // Runs of a server are distinguished by the second of their start.
    sleep(Duration::from_millis(1_100)).await;
    let mysql = Arc::new(MySql::new(&url).unwrap());
    let mut eye = bare(&server).await;
    let mut lease = Lease::acquire(&mysql).await.unwrap();
    let id = lease.id();
    cut_at_work(&mut eye, id, LONG, lease.query_drop(LONG)).await;

    server.restart().await.unwrap();
    let mut other = loop {
        let mut conn = Conn::new(Opts::from_url(&url).unwrap()).await.unwrap();
        let this_id: u64 = conn.query_first("SELECT CONNECTION_ID()").await.unwrap().unwrap();
        assert!(this_id <= id, "the id was already used");
        if this_id == id {
            break conn;
        }
    };
    let outcome = Lease::fail(lease).await;
    assert!(outcome.is_ok(), "the statement ended with the server: {outcome:?}");
    let asked: Option<u64> = other.query_first("SELECT CONNECTION_ID()").await.expect("it is alive");
    assert_eq!(asked, Some(id));
}

/// If the server cannot stop the statement, the error comes before the deadline of a release in a scope or a pool.
#[tokio::test]
async fn not_stopped_is_reported_before_the_release_times_out() {
    let server = MariaDb::start().await.unwrap();
    let mysql = Arc::new(MySql::new(&app(&server).await).unwrap());
    let mut eye = bare(&server).await;
    let mut lease = Lease::acquire(&mysql).await.unwrap();
    let id = lease.id();
    cut_at_work(&mut eye, id, LONG, lease.query_drop(LONG)).await;

    server.freeze().unwrap();
    // The server does not answer, so only timeouts end the waiting, on the clock of the runtime.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = Lease::fail(lease).await.unwrap_err();
    assert!(matches!(error.cause(), Some(MySqlError::NotStopped(_))), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
