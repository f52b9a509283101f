//! Requests that are cancelled while the server works: it never works on more statements than the pool has slots.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use reqscope::{Exit, Lease, Pool, Scopes};
use reqscope_mysql::mysql_async::Conn;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, Transaction};
use reqscope_testkit::{MariaDb, until};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::with_server::support::{
    PATIENCE, bare, cut_at_work, doing, next_user_is_served, rows_on, server_pool, table_on, until_at_work,
};

const SLOTS: usize = 5;
/// A statement that ends only when it is stopped.
const LONG: &str = "SELECT SLEEP(600)";

/// Returns how many statements sleep on the server.
async fn sleeps(eye: &mut Conn) -> usize {
    let asked = format!("SELECT count(*) FROM information_schema.processlist WHERE info = '{LONG}'");
    eye.query_first(asked).await.expect("an answer").expect("a number")
}

/// Polls the server until `stop` is set, and returns the maximum.
async fn most_sleeps(mut eye: Conn, stop: Arc<AtomicBool>) -> usize {
    let mut most = 0;
    while !stop.load(Relaxed) {
        most = most.max(sleeps(&mut eye).await);
        tokio::task::yield_now().await;
    }
    most
}

/// Checks that all slots serve at the same time.
async fn serves_all_at_once(pool: &Arc<Pool<MySql>>) {
    let together = Arc::new(Barrier::new(SLOTS));
    let mut users = JoinSet::new();
    for number in 0..SLOTS as u64 {
        let (pool, together) = (Arc::clone(pool), Arc::clone(&together));
        users.spawn(async move {
            let mut conn = Lease::acquire(&pool).await.expect("a connection");
            together.wait().await;
            let answer: Option<u64> = conn.exec_first("SELECT ?", (number,)).await.expect("an answer");
            assert_eq!(answer, Some(number));
            Lease::complete(conn).await.expect("it goes back");
        });
    }
    let all = async {
        while let Some(user) = users.join_next().await {
            user.expect("it is served")
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all of them are served");
}

/// A hundred requests are cancelled, most of them in a SLEEP. The server never sleeps for more than the pool has slots,
/// and for none in the end.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_sleepers_never_exceed_the_slots() {
    let server = MariaDb::start().await.unwrap();
    let pool = server_pool(&server, SLOTS);
    let scopes = Scopes::new();
    let stop = Arc::new(AtomicBool::new(false));
    let most = tokio::spawn(most_sleeps(bare(&server).await, Arc::clone(&stop)));
    let mut eye = bare(&server).await;

    let mut requests = JoinSet::new();
    for number in 0..100_u64 {
        let (pool, scopes) = (Arc::clone(&pool), scopes.clone());
        requests.spawn(async move {
            let handler = async {
                let scope = scopes.open();
                let mut conn = scope.lazy(&pool).get().await.expect("a connection");
                conn.query_drop(LONG).await.expect("it works");
            };
            // The clients leave one after the other, some while they wait and most during the SLEEP.
            tokio::time::timeout(Duration::from_millis(20 + number * 5), handler)
                .await
                .expect_err("the client leaves before");
        });
    }
    while let Some(request) = requests.join_next().await {
        request.unwrap();
    }
    let began = Instant::now();
    while sleeps(&mut eye).await > 0 {
        // By itself, the server looks every 5 s whether a client is still there.
        assert!(began.elapsed() < Duration::from_secs(4), "statements still sleep");
    }
    stop.store(true, Relaxed);
    let most = most.await.unwrap();
    assert!((2..=SLOTS).contains(&most), "{most} were asleep at once");

    serves_all_at_once(&pool).await;
    let report = scopes.drain(PATIENCE).await;
    assert!(report.is_clean(), "{report:?}");
    // The last resets run in the background.
    until(PATIENCE, || pool.status().idle == SLOTS).await;
    let status = pool.status();
    assert_eq!((status.in_use, status.waiting, status.ending), (0, 0, 0), "{status:?}");
}

#[tokio::test]
async fn slot_is_held_until_the_server_has_stopped() {
    let server = MariaDb::start().await.unwrap();
    let mut eye = bare(&server).await;
    let pool = server_pool(&server, 1);
    for _ in 0..20 {
        let mut lease = Lease::acquire(&pool).await.unwrap();
        let id = lease.as_ref().id();
        cut_at_work(&mut eye, id, LONG, lease.query_drop(LONG)).await;
        drop(lease);
        let status = pool.status();
        assert_eq!((status.in_use + status.ending, status.idle), (1, 0), "its slot is not free yet");
        let next = Lease::acquire(&pool).await.unwrap();
        assert_eq!(doing(&mut eye, id).await, None);
        drop(next);
    }
}

#[tokio::test]
async fn panic_during_a_statement_stops_it_and_rolls_back() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "panicked").await;
    let mut eye = bare(&server).await;
    let pool = server_pool(&server, 1);
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let scopes = Scopes::new();
    let id = next_user_is_served(&pool).await;
    let handler = async {
        let scope = scopes.open();
        let mut open = scope.lazy(&tx).get().await.unwrap();
        open.query_drop("INSERT INTO panicked VALUES (1, 0)").await.unwrap();
        tokio::select! {
            _ = open.query_drop(LONG) => unreachable!("it sleeps for longer"),
            () = until_at_work(&mut eye, id, LONG) => panic!("in the middle of it"),
        }
    };
    AssertUnwindSafe(handler).catch_unwind().await.unwrap_err();
    let report = scopes.drain(PATIENCE).await;
    assert!(report.is_clean(), "{report:?}");
    assert_ne!(next_user_is_served(&pool).await, id);
    assert_eq!(sleeps(&mut eye).await, 0);
    assert_eq!(rows_on(&server, "panicked").await, 0);
}

#[tokio::test]
async fn panic_caught_in_the_handler_does_not_commit_half_its_work() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "caught").await;
    let pool = server_pool(&server, 1);
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let scope = Scopes::new().open();
    let half = async {
        let mut open = scope.lazy(&tx).get().await.unwrap();
        open.query_drop("INSERT INTO caught VALUES (1, 0)").await.unwrap();
        panic!("between two statements");
    };
    AssertUnwindSafe(half).catch_unwind().await.unwrap_err();
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert_eq!(error.verdict(), Exit::Failed, "{error:?}");
    next_user_is_served(&pool).await;
    assert_eq!(rows_on(&server, "caught").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_transactions_leave_no_row_and_no_lock() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "crowd").await;
    let pool = server_pool(&server, SLOTS);
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let scopes = Scopes::new();
    let mut requests = JoinSet::new();
    for number in 0..100_u64 {
        let (tx, scopes) = (Arc::clone(&tx), scopes.clone());
        requests.spawn(async move {
            let handler = async {
                let scope = scopes.open();
                let mut open = scope.lazy(&tx).get().await.expect("a transaction");
                open.exec_drop("INSERT INTO crowd VALUES (?, 0)", (number,)).await.expect("it works");
                open.query_drop(LONG).await.expect("it works");
            };
            // At any moment: while waiting for a connection, in the START TRANSACTION, the INSERT or the SLEEP.
            tokio::time::timeout(Duration::from_micros(number * 800), handler)
                .await
                .expect_err("the client leaves before");
        });
    }
    while let Some(request) = requests.join_next().await {
        request.unwrap();
    }
    let report = scopes.drain(PATIENCE).await;
    assert!(report.is_clean(), "{report:?}");
    // For their scopes the transactions have ended; the pool still stops the cut ones and holds their slots until then.
    until(PATIENCE, || pool.status().ending == 0).await;
    let mut eye = bare(&server).await;
    let left: Option<u64> = eye.query_first("SELECT count(*) FROM crowd FOR UPDATE NOWAIT").await.unwrap();
    assert_eq!(left, Some(0));
    assert_eq!(sleeps(&mut eye).await, 0);
    serves_all_at_once(&pool).await;
}
