//! A transaction ends with its request: it is committed if the request completes, and rolled back otherwise.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use reqscope::scope::Problem;
use reqscope::{Exit, Health, Lease, Pool, Reaper, Reset, Resource, Scopes};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Error, IsolationLevel};
use reqscope_mysql::{MySql, MySqlConn, MySqlError, ReadOnly, Transaction, TransactionExt};

use crate::with_server::support::{
    PATIENCE, assert_refused, bare, code, cut_at_work, doing, insert, mysql, next_user_is_served, pool, refusal,
    rows, shared, table,
};

type Pooled = Transaction<Pool<MySql>>;

async fn writing() -> Arc<Pooled> {
    Arc::new(Transaction::new(pool(1).await))
}

#[tokio::test]
async fn completed_commits_and_every_other_exit_rolls_back() {
    table("exits").await;
    let tx = writing().await;
    let bare = Arc::new(Transaction::new(Arc::new(mysql().await)));
    let exits = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked, Exit::Completed];
    for (id, (exit, expected)) in exits.into_iter().zip([2, 2, 2, 2, 4]).enumerate() {
        let id = u32::try_from(id).unwrap();
        let mut open = Lease::acquire(&tx).await.unwrap();
        insert(&mut open, "exits", id).await.unwrap();
        Lease::end(open, exit).await.unwrap();
        let mut open = Lease::acquire(&bare).await.unwrap();
        insert(&mut open, "exits", id + 100).await.unwrap();
        Lease::end(open, exit).await.unwrap();
        assert_eq!(rows("exits").await, expected, "after {exit}");
    }
}

#[tokio::test]
async fn scope_commits_all_its_work_before_its_close_ends() {
    table("scope_commits").await;
    let tx = writing().await;
    let scope = Scopes::new().open();
    insert(&mut scope.lazy(&tx).get().await.unwrap(), "scope_commits", 1).await.unwrap();
    insert(&mut scope.lazy(&tx).get().await.unwrap(), "scope_commits", 2).await.unwrap();
    assert_eq!(rows("scope_commits").await, 0);
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(rows("scope_commits").await, 2);
}

#[tokio::test]
async fn scope_that_fails_is_dropped_or_panics_rolls_back() {
    table("scope_rolls_back").await;
    let tx = writing().await;
    let scopes = Scopes::new();
    for way in 0..4 {
        let scope = scopes.open();
        insert(&mut scope.lazy(&tx).get().await.unwrap(), "scope_rolls_back", way).await.unwrap();
        match way {
            0 => scope.close(Exit::Failed).await.unwrap(),
            1 => drop(scope),
            2 => {
                scope.handle().mark_failed();
                let error = scope.close(Exit::Completed).await.unwrap_err();
                assert!(matches!(error.problems(), [Problem::NotCompleted { .. }]), "{error:?}");
            }
            _ => {
                let panics = async move {
                    let _scope = scope;
                    panic!("in the handler");
                };
                AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
            }
        }
        let report = scopes.drain(PATIENCE).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(rows("scope_rolls_back").await, 0, "way {way}");
        next_user_is_served(tx.get_ref()).await;
    }
}

#[tokio::test]
async fn only_a_commit_settles() {
    let tx = writing().await;
    let reading = ReadOnly::new(Arc::clone(tx.get_ref()));
    for exit in [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked] {
        assert_eq!(tx.settles(exit), exit.is_completed(), "{exit}");
        assert!(!reading.settles(exit), "{exit}");
    }
}

/// Returns the isolation level, derived from whether an uncommitted row and a later committed one are visible.
async fn behaves_as(open: &mut MySqlConn) -> &'static str {
    table("levels").await;
    let (mut writer, mut other) = (bare(shared().await).await, bare(shared().await).await);
    writer.query_drop("BEGIN; INSERT INTO levels VALUES (1, 0)").await.expect("no other writer");
    let rows = "SELECT count(*) FROM levels WHERE id > 0";
    let first = open.query_first::<u64, _>(rows).await;
    other.query_drop("INSERT INTO levels VALUES (2, 0)").await.expect("the row is not locked");
    let second = open.query_first::<u64, _>(rows).await;
    match (first, second) {
        (Ok(Some(1)), Ok(Some(2))) => "READ UNCOMMITTED",
        (Ok(Some(0)), Ok(Some(1))) => "READ COMMITTED",
        (Ok(Some(0)), Ok(Some(0))) => "REPEATABLE READ",
        (Err(Error::Server(lock)), Err(_)) if lock.code == 1205 => "SERIALIZABLE",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_isolation_level_applies_to_its_own_transactions() {
    // A statement that would wait for a lock fails at once.
    let mysql = MySql::builder(&shared().await.url()).unwrap().setup("SET innodb_lock_wait_timeout = 0").build();
    let pool = Arc::new(Pool::builder().max_size(1).build(mysql));
    let levels = [
        (IsolationLevel::ReadUncommitted, "READ UNCOMMITTED"),
        (IsolationLevel::ReadCommitted, "READ COMMITTED"),
        (IsolationLevel::RepeatableRead, "REPEATABLE READ"),
        (IsolationLevel::Serializable, "SERIALIZABLE"),
    ];
    for (isolation, expected) in levels {
        let one = Transaction::new(Arc::clone(&pool)).isolation_level(isolation);
        let next = Transaction::new(Arc::clone(&pool));
        for (tx, expected) in [(one, expected), (next, "REPEATABLE READ")] {
            let mut open = Lease::acquire(&Arc::new(tx)).await.unwrap();
            assert_eq!(behaves_as(&mut open).await, expected);
            Lease::fail(open).await.unwrap();
        }
    }
}

#[tokio::test]
async fn read_only_transaction_refuses_writes_and_continues() {
    table("only_read").await;
    let tx = Arc::new(ReadOnly::new(pool(1).await));
    let mut open = Lease::acquire(&tx).await.unwrap();
    let error = refusal(insert(&mut open, "only_read", 1).await);
    assert_eq!(code(&error), Some(1792), "{error:?}");
    assert_eq!(open.query_first("SELECT count(*) FROM only_read").await.unwrap(), Some(0_u64));
    Lease::complete(open).await.unwrap();

    // The connection can write again.
    let mut conn = Lease::acquire(tx.get_ref()).await.unwrap();
    insert(&mut conn, "only_read", 1).await.unwrap();
}

/// A consistent snapshot shows the data as of the beginning, not as of the first read.
#[tokio::test]
async fn consistent_snapshot_is_taken_at_the_beginning() {
    table("snapshot").await;
    let pool = pool(3).await;
    let late = Arc::new(Transaction::new(Arc::clone(&pool)));
    let early = Arc::new(Transaction::new(Arc::clone(&pool)).consistent_snapshot());
    let reading = Arc::new(ReadOnly::new(pool).consistent_snapshot());
    let mut late = Lease::acquire(&late).await.unwrap();
    let mut early = Lease::acquire(&early).await.unwrap();
    let mut reading = Lease::acquire(&reading).await.unwrap();
    bare(shared().await).await.query_drop("INSERT INTO snapshot VALUES (1, 0)").await.unwrap();
    let opens: [(&mut MySqlConn, u64); 3] = [(&mut late, 1), (&mut early, 0), (&mut reading, 0)];
    for (open, expected) in opens {
        assert_eq!(open.query_first("SELECT count(*) FROM snapshot").await.unwrap(), Some(expected));
    }
    Lease::complete(late).await.unwrap();
    Lease::complete(early).await.unwrap();
    Lease::complete(reading).await.unwrap();
}

#[tokio::test]
async fn transaction_with_a_cut_statement_cannot_be_committed() {
    table("cut_inside").await;
    let mut eye = bare(shared().await).await;
    let tx = writing().await;

    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "cut_inside", 1).await.unwrap();
    cut_at_work(&mut eye, id, "SLEEP(10)", open.query_drop("DO SLEEP(10)")).await;
    assert_eq!(tx.probe(&open), Health::Dead);
    assert_refused!(tx.validate(&mut open).await, MySqlError::InDoubt);
    assert_refused!(Lease::complete(open).await, MySqlError::InDoubt);
    assert_ne!(next_user_is_served(tx.get_ref()).await, id);
    assert_eq!(doing(&mut eye, id).await, None);

    let scope = Scopes::new().open();
    let mut open = scope.lazy(&tx).get().await.unwrap();
    let id = open.id();
    insert(&mut open, "cut_inside", 1).await.unwrap();
    cut_at_work(&mut eye, id, "SLEEP(10)", open.query_drop("DO SLEEP(10)")).await;
    drop(open);
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert_eq!(error.verdict(), Exit::Failed, "{error:?}");
    assert_ne!(next_user_is_served(tx.get_ref()).await, id);
    assert_eq!(rows("cut_inside").await, 0);
}

/// Connections that record the exits passed to their release.
struct RecordsExits(MySql, Mutex<Vec<Exit>>);

impl Resource for RecordsExits {
    type Handle = MySqlConn;
    type Cause = MySqlError;

    async fn acquire(&self) -> Result<MySqlConn, reqscope::Error<MySqlError>> {
        self.0.acquire().await
    }

    async fn release(&self, conn: MySqlConn, exit: Exit) -> Result<(), reqscope::Error<MySqlError>> {
        self.1.lock().expect("not poisoned").push(exit);
        self.0.release(conn, exit).await
    }
}

/// The exit passed to the connection says how the transaction ended, not how it was meant to end.
#[tokio::test]
async fn connection_is_released_with_how_its_transaction_ended() {
    let connections = Arc::new(RecordsExits(mysql().await, Mutex::default()));
    let tx = Arc::new(Transaction::new(Arc::clone(&connections)));
    for (exit, statement, expected) in [
        (Exit::Completed, "DO 1", Exit::Completed),
        (Exit::Completed, "COMMIT", Exit::Failed),
        (Exit::Failed, "DO 1", Exit::Failed),
        (Exit::Cancelled, "COMMIT", Exit::Cancelled),
    ] {
        let reaper = Reaper::new();
        let mut open = Lease::acquire_in(&reaper, &tx).await.unwrap();
        open.query_drop(statement).await.unwrap();
        let outcome = Lease::end(open, exit).await;
        assert_eq!(outcome.is_err(), exit != expected, "{outcome:?}");
        assert!(reaper.drain(PATIENCE).await.is_clean());
        assert_eq!(connections.1.lock().unwrap().pop(), Some(expected), "{exit} after {statement}");
    }
}

#[tokio::test]
async fn connection_without_a_reset_forgets_an_ended_transaction() {
    table("known_of").await;
    let pool = Arc::new(Pool::builder().max_size(1).build(mysql().await));
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    for (id, exit) in [Exit::Completed, Exit::Failed].into_iter().enumerate() {
        let mut open = Lease::acquire(&tx).await.unwrap();
        insert(&mut open, "known_of", u32::try_from(id).unwrap()).await.unwrap();
        Lease::end(open, exit).await.unwrap();
        let mut next = Lease::acquire(&pool).await.unwrap();
        // Outside a transaction, each statement commits on its own, and none is refused.
        insert(&mut next, "known_of", u32::try_from(id).unwrap() + 10).await.unwrap();
        insert(&mut next, "known_of", u32::try_from(id).unwrap() + 20).await.unwrap();
        Lease::complete(next).await.unwrap();
    }
    assert_eq!(rows("known_of").await, 5);
    assert_eq!(pool.status().created, 1);
}

#[tokio::test]
async fn failed_commit_is_rolled_back_before_the_connection_returns() {
    table("uncommitted").await;
    // A pool that does not reset a connection whose use completed.
    let pool = Arc::new(Pool::builder().max_size(1).build(mysql().await));
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, "uncommitted", 1).await.unwrap();
    let mut inner = open.savepoint().await.unwrap();
    inner.query_drop("RELEASE SAVEPOINT reqscope_0").await.unwrap();
    // Its undo before the COMMIT fails, because the server does not know the savepoint any more.
    drop(inner);
    let error = Lease::complete(open).await.unwrap_err();
    assert_eq!(error.cause().and_then(code), Some(1305), "{error:?}");

    let mut next = Lease::acquire(&pool).await.unwrap();
    assert_eq!(next.query_first("SELECT @@in_transaction").await.unwrap(), Some(0_u8));
    Lease::complete(next).await.unwrap();
    let mut next = Lease::acquire(&tx).await.unwrap();
    insert(&mut next, "uncommitted", 2).await.unwrap();
    Lease::complete(next).await.unwrap();
    assert_eq!(rows("uncommitted").await, 1, "only the row of the second");
}

/// Inserts a row, and leaves the error of the statement after it unread. The driver returns it to what comes next.
async fn leave_an_error(open: &mut MySqlConn, table: &str) {
    let both = format!("INSERT INTO {table} VALUES (1, 0); INSERT INTO no_such_table VALUES (1)");
    drop(open.query_iter(both).await.expect("the first is right"));
}

/// A pool that does not reset a connection whose use is over.
async fn without_reset() -> Arc<Pool<MySql>> {
    Arc::new(Pool::builder().max_size(1).reset(Reset::AfterDoubt).build(mysql().await))
}

/// The fault: the error was taken for the answer to the ROLLBACK, which was not sent. The START TRANSACTION of the next
/// user then committed the row.
#[tokio::test]
async fn rollback_after_an_unread_error_undoes_the_work() {
    table("refused").await;
    let pool = without_reset().await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut open = Lease::acquire(&tx).await.unwrap();
    leave_an_error(&mut open, "refused").await;
    Lease::fail(open).await.unwrap();
    Lease::complete(Lease::acquire(&tx).await.unwrap()).await.unwrap();
    assert_eq!((rows("refused").await, pool.status().created), (0, 1));
}

#[tokio::test]
async fn unread_error_before_the_commit_commits_nothing() {
    table("half").await;
    let pool = without_reset().await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut open = Lease::acquire(&tx).await.unwrap();
    leave_an_error(&mut open, "half").await;
    let error = Lease::complete(open).await.unwrap_err();
    assert_eq!(error.cause().and_then(code), Some(1146), "{error:?}");
    Lease::complete(Lease::acquire(&tx).await.unwrap()).await.unwrap();
    assert_eq!((rows("half").await, pool.status().created), (0, 1));
}

/// The savepoint is rolled back, and not only reported to be.
#[tokio::test]
async fn savepoint_after_an_unread_error_is_rolled_back() {
    table("part").await;
    let tx = Arc::new(Transaction::new(without_reset().await));
    let mut open = Lease::acquire(&tx).await.unwrap();
    let mut part = open.savepoint().await.unwrap();
    leave_an_error(&mut part, "part").await;
    drop(part.rollback().await);
    insert(&mut open, "part", 2).await.unwrap();
    Lease::complete(open).await.unwrap();
    assert_eq!(rows("part").await, 1, "only the row after it");
}

/// Within an XA transaction, the server refuses a ROLLBACK.
#[tokio::test]
async fn connection_whose_rollback_failed_is_not_used_again() {
    let pool = without_reset().await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut open = Lease::acquire(&tx).await.unwrap();
    open.query_drop("COMMIT; XA START 'unfinished'").await.unwrap();
    let id = open.id();
    let error = Lease::fail(open).await.unwrap_err();
    assert_eq!(error.cause().and_then(code), Some(1399), "{error:?}");
    assert_ne!(next_user_is_served(&pool).await, id);
}
