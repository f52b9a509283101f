//! A transaction is committed or rolled back as a whole, and a connection on which that is not certain is not used again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Lease, Pool, Resource, Scopes};
use reqscope_driver::{ReadOnly, Transaction};
use reqscope_testkit::{expect_panic, poll_once};

use crate::kv::{KvConn, KvError};
use crate::server::{Fault, Server};
use crate::support::{kv_within, next_user, pool, transactions};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn completed_commits_and_every_other_exit_rolls_back() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 1);
    let tx = transactions(&pool);
    let exits = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked, Exit::Completed];
    for (value, (exit, expected)) in (1..).zip(exits.into_iter().zip([1, 1, 1, 1, 5])) {
        let mut open = Lease::acquire(&tx).await.unwrap();
        open.set("value", value).await.unwrap();
        Lease::end(open, exit).await.unwrap();
        assert_eq!(server.value("value"), Some(expected), "{exit}");
        next_user(&pool).await;
    }
    assert_eq!(pool.status().created, 1);
}

#[tokio::test]
async fn read_only_transaction_never_commits_or_settles() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 1);
    let (writing, reading) = (transactions(&pool), Arc::new(ReadOnly::new(Arc::clone(&pool))));
    assert!(writing.settles(Exit::Completed) && !writing.settles(Exit::Failed));
    assert!(!reading.settles(Exit::Completed) && reading.ends_with_request());
    let mut open = Lease::acquire(&reading).await.unwrap();
    // This server does not refuse it.
    open.set("value", 1).await.unwrap();
    Lease::complete(open).await.unwrap();
    assert_eq!(server.value("value"), None);
    next_user(&pool).await;
}

#[tokio::test]
async fn request_has_one_transaction_of_each_kind() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 2);
    let (writing, reading) = (transactions(&pool), Arc::new(ReadOnly::new(Arc::clone(&pool))));
    let scope = Scopes::new().open();
    assert_eq!(scope.lazy(&reading).get().await.unwrap().get("value").await.unwrap(), 0);
    scope.lazy(&writing).get().await.unwrap().set("value", 7).await.unwrap();
    assert_eq!(scope.lazy(&reading).get().await.unwrap().get("value").await.unwrap(), 0, "one state of the data");
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(server.value("value"), Some(7));
}

#[tokio::test]
async fn refused_begin_returns_the_connection() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 1);
    server.fail("BEGIN", Fault::Refuse);
    let error = Lease::acquire(&transactions(&pool)).await.unwrap_err();
    assert!(matches!(error.cause(), Some(KvError::Server(text)) if text == "refused"), "{error:?}");
    assert_eq!((next_user(&pool).await, pool.status().created), (1, 1));
}

#[tokio::test]
async fn refused_commit_is_rolled_back_before_the_connection_returns() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 1);
    let mut open = Lease::acquire(&transactions(&pool)).await.unwrap();
    open.set("value", 1).await.unwrap();
    server.fail("COMMIT", Fault::Refuse);
    let error = Lease::complete(open).await.unwrap_err();
    assert!(!error.is_unknown_outcome(), "{error:?}");
    server.fail("COMMIT", None);
    assert_eq!((next_user(&pool).await, pool.status().created), (1, 1));
    assert_eq!(server.value("value"), None);
}

#[tokio::test]
async fn commit_without_an_answer_has_an_unknown_outcome() {
    for (fault, expected) in [(Fault::HangUp, Some(1)), (Fault::Freeze, None)] {
        let server = Server::start().await.unwrap();
        let pool = Arc::new(Pool::builder().max_size(2).build(kv_within(&server, SHORT)));
        let mut open = Lease::acquire(&transactions(&pool)).await.unwrap();
        open.set("value", 1).await.unwrap();
        server.fail("COMMIT", fault);
        let error = Lease::complete(open).await.unwrap_err();
        assert!(error.is_unknown_outcome(), "{error:?}");
        assert_eq!(server.value("value"), expected);
        server.fail("COMMIT", None);
        assert_ne!(next_user(&pool).await, 1);
    }
}

/// The rule that a copy of this frame had lost: its next transaction would commit what is left.
#[tokio::test]
async fn connection_whose_rollback_failed_is_not_used_again() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 1);
    let mut open = Lease::acquire(&transactions(&pool)).await.unwrap();
    open.set("value", 1).await.unwrap();
    server.fail("ROLLBACK", Fault::Refuse);
    let error = Lease::fail(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(KvError::Server(_))), "{error:?}");
    server.fail("ROLLBACK", None);
    assert_ne!(next_user(&pool).await, 1);

    // And the one after a refused COMMIT, whose error is the first cause.
    let mut open = Lease::acquire(&transactions(&pool)).await.unwrap();
    let id = open.id();
    open.set("value", 1).await.unwrap();
    server.fail("COMMIT", Fault::Refuse);
    server.fail("ROLLBACK", Fault::HangUp);
    let error = Lease::complete(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(KvError::Server(_))), "{error:?}");
    server.fail("COMMIT", None);
    server.fail("ROLLBACK", None);
    assert_ne!(next_user(&pool).await, id);
    assert_eq!(server.value("value"), None);
}

#[tokio::test]
async fn transaction_with_a_cut_operation_cannot_be_committed() {
    let server = Server::start().await.unwrap();
    let pool = pool(&server, 1);
    let mut open = Lease::acquire(&transactions(&pool)).await.unwrap();
    open.set("value", 1).await.unwrap();
    assert!(poll_once(pin!(open.ask("SLEEP 60000"))).is_pending());
    assert!(matches!(open.get("value").await, Err(KvError::InDoubt)));
    let error = Lease::complete(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(KvError::InDoubt)), "{error:?}");
    assert_ne!(next_user(&pool).await, 1);
    assert_eq!(server.value("value"), None);
}

/// A function that works in the transaction of its caller takes the connection.
#[tokio::test]
async fn open_transaction_is_its_connection() {
    fn id(conn: &KvConn) -> u64 {
        conn.id()
    }
    let server = Server::start().await.unwrap();
    let mut open = Lease::acquire(&transactions(&pool(&server, 1))).await.unwrap();
    let by_deref = id(&open);
    let by_as_ref = id((*open).as_ref());
    let by_as_mut = id((*open).as_mut());
    assert_eq!([by_deref, by_as_ref, by_as_mut], [1; 3]);
    Lease::complete(open).await.unwrap();
}

#[test]
fn transactions_cannot_be_pooled() {
    let kv = || Arc::new(crate::kv::Kv { host: "127.0.0.1", port: 1, limit: SHORT });
    let writing = expect_panic(|| Pool::new(Transaction::new(kv())));
    assert!(writing.contains("Put the pool inside: Transaction<Pool<Kv>>"), "{writing}");
    let reading = expect_panic(|| Pool::new(ReadOnly::new(kv())));
    assert!(reading.contains("Put the pool inside: ReadOnly<Pool<Kv>>"), "{reading}");
}
