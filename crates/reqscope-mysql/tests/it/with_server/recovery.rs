//! After a fault all clients are served again, and until then each gets an answer or an error in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use reqscope::{Lease, Pool};
use reqscope_mysql::MySql;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_testkit::{MariaDb, until};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::with_server::support::PATIENCE;

const CLIENTS: usize = 64;
/// A delay that a loaded machine may add, well below the [`PATIENCE`] of a caller that would wait in the pool.
const LAG: Duration = Duration::from_secs(10);

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

/// How many requests of each client have ended.
type Answers = Arc<[AtomicUsize; CLIENTS]>;

/// Runs clients that send a request every 10 ms until the fault is over and each was served. Returns the longest time
/// that one of them waited for an answer.
async fn crowd(pool: Arc<Pool<MySql>>, answers: Answers, over: watch::Receiver<bool>) -> Duration {
    let clients = (0..CLIENTS).map(|number| {
        let (pool, answers, over) = (Arc::clone(&pool), Arc::clone(&answers), over.clone());
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            loop {
                let is_over = *over.borrow();
                let (took, is_served) = request(&pool).await;
                longest = longest.max(took);
                answers[number].fetch_add(1, Relaxed);
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

fn answers() -> Answers {
    Arc::new([const { AtomicUsize::new(0) }; CLIENTS])
}

fn counts(answers: &Answers) -> Vec<usize> {
    answers.iter().map(|answers| answers.load(Relaxed)).collect()
}

/// Creates a pool with this limit for each stage, and one connection in use before.
async fn pool(server: &MariaDb, time: Duration) -> Arc<Pool<MySql>> {
    let mysql = MySql::builder(&server.url()).unwrap().connect_timeout(time).operation_timeout(time).build();
    let pool = Pool::builder().max_size(8).acquire_timeout(time).validate_timeout(time).build(mysql);
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
        let clients = tokio::spawn(crowd(Arc::clone(&pool), answers(), seen));
        sleep(Duration::from_millis(50)).await;
        server.kill().await.unwrap();
        sleep(Duration::from_millis(300)).await;
        until(PATIENCE, || pool.status().down).await;
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
    let answers = answers();
    let clients = tokio::spawn(crowd(pool, Arc::clone(&answers), seen));
    sleep(Duration::from_millis(50)).await;
    server.freeze().unwrap();
    // The first of two answers may be from before; the second one was requested from a frozen server.
    let before = counts(&answers);
    until(PATIENCE, || counts(&answers).iter().zip(&before).all(|(now, before)| *now >= before + 2)).await;
    server.thaw().unwrap();
    over.send_replace(true);
    let longest = timeout(PATIENCE, clients).await.expect("all clients are served").unwrap();
    // A client waits for a connection and for the answer, each with a deadline of its own.
    assert!(longest < 2 * time + LAG, "{longest:?}");
}
