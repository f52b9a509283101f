//! After a fault all clients are served again, and until then each gets an answer or an error in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Lease, Pool};
use reqscope_mysql::MySql;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_testkit::MariaDb;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::with_server::support::PATIENCE;

const CLIENTS: usize = 64;
/// The delay that a loaded machine may add.
const LAG: Duration = Duration::from_secs(2);

/// Runs a short request; returns how long it took and whether it was served.
async fn request(pool: &Arc<Pool<MySql>>) -> (Duration, bool) {
    let began = Instant::now();
    let served = async {
        let mut lease = Lease::acquire(pool).await.ok()?;
        let answer: Option<u64> = lease.query_first("SELECT 41 + 1").await.ok()?;
        assert_eq!(answer, Some(42), "the answer of another query");
        Lease::complete(lease).await.ok()
    };
    let is_served = served.await.is_some();
    (began.elapsed(), is_served)
}

/// Runs clients that send a request every 10 ms until the fault is over and each was served. Returns the longest time
/// that one of them waited for an answer.
async fn crowd(pool: &Arc<Pool<MySql>>, over: watch::Receiver<bool>) -> Duration {
    let clients = (0..CLIENTS).map(|_| {
        let (pool, over) = (Arc::clone(pool), over.clone());
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            loop {
                let is_over = *over.borrow();
                let (took, is_served) = request(&pool).await;
                longest = longest.max(took);
                if is_over && is_served {
                    return longest;
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
    });
    let mut longest = Duration::ZERO;
    for client in clients.collect::<Vec<_>>() {
        longest = longest.max(client.await.unwrap());
    }
    longest
}

/// Creates a pool with this limit for each stage, and one connection in use before.
async fn pool(server: &MariaDb, time: Duration) -> Arc<Pool<MySql>> {
    let mysql = MySql::builder(&server.url()).unwrap().connect_timeout(time).operation_timeout(time).build();
    let pool = MySql::pool_builder().max_size(8).acquire_timeout(time).validate_timeout(time).build(mysql);
    let pool = Arc::new(pool);
    assert!(request(&pool).await.1);
    pool
}

#[tokio::test(flavor = "multi_thread")]
async fn all_clients_are_served_again_after_each_restart() {
    let server = MariaDb::start().await.unwrap();
    let pool = pool(&server, PATIENCE).await;
    for _restart in 0..3 {
        let (over, seen) = watch::channel(false);
        let clients = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { crowd(&pool, seen).await }
        });
        sleep(Duration::from_millis(50)).await;
        server.kill().await.unwrap();
        sleep(Duration::from_millis(300)).await;
        assert!(pool.status().down);
        server.restart().await.unwrap();
        let began = Instant::now();
        over.send_replace(true);
        let longest = timeout(PATIENCE, clients).await.expect("all clients are served").unwrap();
        assert!(began.elapsed() < LAG, "served again after {:?}", began.elapsed());
        assert!(longest < LAG, "refused clients get an error in time: {longest:?}");
    }
    assert!(pool.status().created <= 1 + 3 * 2 * 8, "no needless connections: {:?}", pool.status());
}

/// While the server is frozen, each client gets an error in time; afterwards each is served again.
#[tokio::test(flavor = "multi_thread")]
async fn all_clients_get_answers_in_time_from_a_frozen_server() {
    let server = MariaDb::start().await.unwrap();
    let time = Duration::from_secs(1);
    let pool = pool(&server, time).await;
    let (over, seen) = watch::channel(false);
    let clients = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { crowd(&pool, seen).await }
    });
    sleep(Duration::from_millis(50)).await;
    server.freeze().unwrap();
    sleep(3 * time).await;
    server.thaw().unwrap();
    let began = Instant::now();
    over.send_replace(true);
    let longest = timeout(PATIENCE, clients).await.expect("all clients are served").unwrap();
    // Acquiring, the query and the release have a deadline each.
    assert!(longest < 2 * time + LAG, "{longest:?}");
    assert!(began.elapsed() < 2 * LAG, "served again after {:?}", began.elapsed());
}
