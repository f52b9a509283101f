//! A COMMIT whose answer is lost may have taken effect or not: it fails with an error of its own and ends the
//! connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::scope::Problem;
use reqscope::{Error, Exit, Lease, Pool, Scopes};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlError, Transaction, TransactionExt};
use reqscope_testkit::{Direction, FaultProxy, MariaDb};

use crate::with_server::support::{
    PATIENCE, bare, code, doing, insert, next_user_is_served, refusal, rows, rows_on, server_pool, shared, table,
    table_on, until_at_work, until_gone,
};

const SHORT: Duration = Duration::from_secs(1);

/// Creates transactions through a proxy. Its connection 0 is that of the transaction, 1 the control connection.
async fn proxied(commit_timeout: Duration) -> (FaultProxy, Arc<Transaction<Pool<MySql>>>) {
    let proxy = FaultProxy::start(shared().await.address()).expect("a proxy");
    let mysql = MySql::new(&format!("mysql://root@{}/test", proxy.addr())).expect("a URL");
    let pool = Arc::new(Pool::builder().max_size(1).build(mysql));
    (proxy, Arc::new(Transaction::new(pool).commit_timeout(commit_timeout)))
}

/// Returns the cause of an unknown outcome.
fn unknown(outcome: Result<(), Error<MySqlError>>) -> String {
    let error = outcome.expect_err("an unknown outcome");
    assert!(error.is_unknown_outcome(), "{error:?}");
    match error.cause() {
        Some(MySqlError::UnknownOutcome(Some(cause))) => format!("{cause:?}"),
        _ => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn commit_without_an_answer_is_unknown_after_its_timeout() {
    table("happened").await;
    let (proxy, tx) = proxied(SHORT).await;
    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "happened", 1).await.unwrap();
    proxy.nth(0).black_hole(Direction::ToClient);

    let began = Instant::now();
    let cause = unknown(Lease::complete(open).await);
    assert!(cause.contains("TimedOut"), "{cause}");
    assert!(began.elapsed() >= SHORT && began.elapsed() < PATIENCE / 6, "{:?}", began.elapsed());
    assert_eq!(rows("happened").await, 1);
    assert_ne!(next_user_is_served(tx.get_ref()).await, id);
    until_gone(&mut bare(shared().await).await, id).await;
}

#[tokio::test]
async fn commit_that_never_arrives_is_unknown_and_undone() {
    table("not_received").await;
    let (proxy, tx) = proxied(SHORT).await;
    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "not_received", 1).await.unwrap();
    proxy.nth(0).black_hole(Direction::ToServer);

    let cause = unknown(Lease::complete(open).await);
    assert!(cause.contains("TimedOut"), "{cause}");
    assert_ne!(next_user_is_served(tx.get_ref()).await, id);
    until_gone(&mut bare(shared().await).await, id).await;
    // Neither the row nor a lock on it is left.
    bare(shared().await)
        .await
        .query_drop("SET innodb_lock_wait_timeout = 0; INSERT INTO not_received VALUES (1, 0)")
        .await
        .unwrap();
}

#[tokio::test]
async fn connection_lost_before_the_answer_is_unknown_at_once() {
    table("broken").await;
    let (proxy, tx) = proxied(PATIENCE).await;
    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "broken", 1).await.unwrap();
    proxy.nth(0).black_hole(Direction::ToClient);
    let release = tokio::spawn(Lease::complete(open));
    let began = Instant::now();
    while rows("broken").await == 0 {
        assert!(began.elapsed() < PATIENCE, "the server never received the COMMIT");
    }
    proxy.nth(0).reset();

    let cause = unknown(release.await.unwrap());
    assert!(cause.contains("Io"), "{cause}");
    assert_ne!(next_user_is_served(tx.get_ref()).await, id);
}

#[tokio::test]
async fn connection_lost_before_the_commit_is_closed_not_unknown() {
    table("broke_before").await;
    let (proxy, tx) = proxied(PATIENCE).await;
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, "broke_before", 1).await.unwrap();
    proxy.nth(0).reset();
    // The handler sees the error first.
    assert!(open.query_drop("DO 1").await.is_err());
    let error = Lease::complete(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(MySqlError::Closed)), "{error:?}");
    next_user_is_served(tx.get_ref()).await;
    assert_eq!(rows("broke_before").await, 0);
}

#[tokio::test]
async fn scope_reports_an_unknown_outcome() {
    table("scope_unknown").await;
    let (proxy, tx) = proxied(SHORT).await;
    let scope = Scopes::new().open();
    insert(&mut scope.lazy(&tx).get().await.unwrap(), "scope_unknown", 1).await.unwrap();
    proxy.nth(0).black_hole(Direction::ToClient);
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert!(error.is_unknown_outcome(), "{error:?}");
    let [Problem::ReleaseFailed { error, .. }] = error.problems() else { panic!("{error:?}") };
    let error: &Error<MySqlError> = error.downcast_ref().unwrap();
    assert!(matches!(error.cause(), Some(MySqlError::UnknownOutcome(_))), "{error:?}");
    next_user_is_served(tx.get_ref()).await;
}

#[tokio::test]
async fn commit_held_too_long_is_unknown_and_stopped() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "held").await;
    let (mut eye, mut lock) = (bare(&server).await, bare(&server).await);
    let tx = Arc::new(Transaction::new(server_pool(&server, 1)).commit_timeout(SHORT));
    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "held", 1).await.unwrap();
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();

    let cause = unknown(Lease::complete(open).await);
    assert!(cause.contains("TimedOut"), "{cause}");
    assert_ne!(next_user_is_served(tx.get_ref()).await, id);
    assert_eq!(doing(&mut eye, id).await, None);
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    assert_eq!(rows_on(&server, "held").await, 0);
}

#[tokio::test]
async fn interrupted_commit_is_unknown_and_ends_its_connection() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "held").await;
    let (mut eye, mut lock) = (bare(&server).await, bare(&server).await);
    let tx = Arc::new(Transaction::new(server_pool(&server, 1)));
    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "held", 1).await.unwrap();
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();

    let release = tokio::spawn(Lease::complete(open));
    until_at_work(&mut eye, id, "COMMIT").await;
    eye.query_drop(format!("KILL QUERY {id}")).await.unwrap();
    let error = release.await.unwrap().unwrap_err();
    let cause = error.cause().unwrap();
    assert!(matches!(cause, MySqlError::UnknownOutcome(_)), "{error:?}");
    assert_eq!(code(cause), Some(1317), "{error:?}");
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    assert_ne!(next_user_is_served(tx.get_ref()).await, id);
}

#[tokio::test]
async fn commit_has_its_own_timeout() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "held").await;
    let (mut eye, mut lock) = (bare(&server).await, bare(&server).await);
    // A pool without resets, so that the next user gets the session as the last one left it.
    let usual = Duration::from_secs(2);
    let mysql = MySql::builder(&server.url()).unwrap().operation_timeout(usual).build();
    let pool = Arc::new(Pool::builder().max_size(1).build(mysql));
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)).commit_timeout(PATIENCE));
    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "held", 1).await.unwrap();
    open.set_operation_timeout(Duration::from_millis(20));
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();

    let release = tokio::spawn(Lease::complete(open));
    until_at_work(&mut eye, id, "COMMIT").await;
    let asked = "SELECT time_ms > 100 FROM information_schema.processlist WHERE id = ?";
    while eye.exec_first(asked, (id,)).await.unwrap() != Some(true) {
        assert!(!release.is_finished(), "the COMMIT did not wait");
    }
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    release.await.unwrap().unwrap();
    assert_eq!(rows_on(&server, "held").await, 1);

    let mut next = Lease::acquire(&pool).await.unwrap();
    assert_eq!(next.as_ref().id(), id, "the same connection");
    let error = refusal(next.query_drop("DO SLEEP(10)").await);
    assert!(matches!(error, MySqlError::TimedOut { after, .. } if after == usual), "{error:?}");
}
