use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Exit, Health, Lease, Pool, Resource, ResourceExt, Scopes, Shared};
use reqscope_sqlite::{ReadOnly, Sqlite, SqliteError, Transaction, rusqlite};
use reqscope_testkit::expect_panic;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::{LIMIT, count, endless, insert, reading, rows, sqlite, with_table, writing};

#[tokio::test]
async fn completed_commits_and_other_exits_roll_back() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    for (exit, expected) in
        [(Exit::Completed, 1), (Exit::Failed, 1), (Exit::Cancelled, 1), (Exit::Panicked, 1), (Exit::Completed, 2)]
    {
        let mut open = Lease::acquire(&tx).await.unwrap();
        insert(&mut open, 7).await.unwrap();
        Lease::end(open, exit).await.unwrap();
        assert_eq!(rows(&sqlite).await, expected, "after {exit}");
    }
}

#[tokio::test]
async fn scope_commits_before_its_close_returns() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    let scope = Scopes::new().open();
    insert(&mut scope.lazy(&tx).get().await.unwrap(), 1).await.unwrap();
    insert(&mut scope.lazy(&tx).get().await.unwrap(), 2).await.unwrap();
    scope.close(Exit::Completed).await.unwrap();
    assert_eq!(rows(&sqlite).await, 2);
}

#[tokio::test]
async fn dropped_scope_rolls_back() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    let scopes = Scopes::new();
    let scope = scopes.open();
    insert(&mut scope.lazy(&tx).get().await.unwrap(), 1).await.unwrap();
    drop(scope);
    let report = scopes.drain(LIMIT).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(rows(&sqlite).await, 0);
}

#[tokio::test]
async fn readers_do_not_wait_for_an_open_write_transaction() {
    let sqlite = sqlite();
    let mut writer = Lease::acquire(&writing(&sqlite)).await.unwrap();
    insert(&mut writer, 1).await.unwrap();

    for _ in 0..20 {
        let mut reader = timeout(LIMIT, Lease::acquire(&reading(&sqlite))).await.unwrap().unwrap();
        assert_eq!(count(&mut reader).await, 0);
        Lease::complete(reader).await.unwrap();
    }
    Lease::complete(writer).await.unwrap();
    assert_eq!(rows(&sqlite).await, 1);
}

#[tokio::test]
async fn reader_sees_one_state_until_it_ends() {
    let sqlite = sqlite();
    let mut reader = Lease::acquire(&reading(&sqlite)).await.unwrap();
    assert_eq!(count(&mut reader).await, 0);

    let mut writer = Lease::acquire(&writing(&sqlite)).await.unwrap();
    insert(&mut writer, 1).await.unwrap();
    Lease::complete(writer).await.unwrap();

    assert_eq!(count(&mut reader).await, 0);
    Lease::complete(reader).await.unwrap();
    assert_eq!(rows(&sqlite).await, 1);
}

#[tokio::test]
async fn reader_cannot_write_but_its_connection_can_afterwards() {
    let sqlite = sqlite();
    let reading = reading(&sqlite);
    let mut reader = reading.acquire().await.unwrap();
    let error = insert(&mut reader, 1).await.unwrap_err();
    assert_eq!(error.code(), Some(rusqlite::ErrorCode::ReadOnly));
    reading.release(reader, Exit::Completed).await.unwrap();
    assert!(!reading.settles(Exit::Completed));

    // The resource keeps its connection, as a pool does.
    let conn = sqlite.acquire().await.unwrap();
    let one = Arc::new(Single(parking_lot::Mutex::new(Some(conn))));
    Lease::complete(Lease::acquire(&Arc::new(ReadOnly::new(one.clone()))).await.unwrap()).await.unwrap();
    let mut writer = Lease::acquire(&Arc::new(Transaction::new(one))).await.unwrap();
    insert(&mut writer, 1).await.unwrap();
    Lease::complete(writer).await.unwrap();
    assert_eq!(rows(&sqlite).await, 1);
}

#[tokio::test]
async fn cut_statement_prevents_the_commit() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, 1).await.unwrap();

    let (begun, has_begun) = oneshot::channel();
    tokio::select! {
        _ = open.call(endless(begun)) => unreachable!("it never ends"),
        _ = has_begun => {}
    }
    assert_eq!(tx.probe(&open), Health::Dead);
    assert!(matches!(insert(&mut open, 2).await, Err(SqliteError::InDoubt)));
    let error = Lease::complete(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(SqliteError::InDoubt)), "{error:?}");
    assert_eq!(rows(&sqlite).await, 0);
}

#[tokio::test]
async fn timeout_swallowed_by_the_handler_fails_the_scope() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    let scope = Scopes::new().open();
    let mut open = scope.lazy(&tx).get().await.unwrap();
    insert(&mut open, 1).await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    tokio::select! {
        _ = open.call(endless(begun)) => unreachable!("it never ends"),
        _ = has_begun => {}
    }
    drop(open);

    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert_eq!(error.verdict(), Exit::Failed);
    assert_eq!(rows(&sqlite).await, 0);
}

#[tokio::test]
async fn panic_in_closure_prevents_the_commit() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    let mut open = Lease::acquire(&tx).await.unwrap();
    let panicked = open
        .call(|db| -> rusqlite::Result<()> {
            db.execute("INSERT INTO t (v) VALUES (1)", ())?;
            // A payload that is not a `String`; without the panic hook, so that nothing is printed.
            std::panic::resume_unwind(Box::new("halfway"))
        })
        .await;
    assert!(matches!(panicked, Err(SqliteError::Panicked(message)) if message == "halfway"));
    assert_eq!(tx.probe(&open), Health::Dead);
    Lease::complete(open).await.unwrap_err();
    assert_eq!(rows(&sqlite).await, 0);
}

#[tokio::test]
async fn only_the_release_commits() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, 1).await.unwrap();
    let error = open.call(|db| db.execute_batch("COMMIT")).await.unwrap_err();
    assert_eq!(error.code(), Some(rusqlite::ErrorCode::ConstraintViolation), "{error:?}");
    assert_eq!(tx.probe(&open), Health::Dead);
    assert!(matches!(insert(&mut open, 2).await, Err(SqliteError::RolledBack)));
    let error = Lease::complete(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(SqliteError::RolledBack)), "{error:?}");
    assert_eq!(rows(&sqlite).await, 0);
}

/// SQLite may roll back a transaction by itself. Later writes of the closure would be committed one by one.
#[tokio::test]
async fn closure_cannot_write_after_its_transaction_is_lost() {
    let sqlite = sqlite();
    let mut open = Lease::acquire(&writing(&sqlite)).await.unwrap();
    let outcome = open.call(|db| db.execute_batch("ROLLBACK; INSERT INTO t (v) VALUES (1)")).await;
    assert!(outcome.is_err());
    Lease::complete(open).await.unwrap_err();
    assert_eq!(rows(&sqlite).await, 0);
}

#[tokio::test]
async fn savepoint_inside_a_transaction_works() {
    let sqlite = sqlite();
    let mut open = Lease::acquire(&writing(&sqlite)).await.unwrap();
    insert(&mut open, 1).await.unwrap();
    let nested = open.call(|db| {
        let savepoint = db.savepoint()?;
        savepoint.execute("INSERT INTO t (v) VALUES (2)", ())?;
        savepoint.commit()?;
        let savepoint = db.savepoint()?;
        savepoint.execute("INSERT INTO t (v) VALUES (3)", ())?;
        savepoint.finish()
    });
    nested.await.unwrap();
    Lease::complete(open).await.unwrap();
    assert_eq!(rows(&sqlite).await, 2);
}

#[tokio::test]
async fn commit_refused_by_constraint_rolls_back_with_its_error() {
    let sqlite = sqlite();
    let tx = writing(&sqlite);
    let mut open = Lease::acquire(&tx).await.unwrap();
    let parent_missing = "CREATE TABLE child (t INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED);
                          INSERT INTO child VALUES (99)";
    open.call(move |db| db.execute_batch(parent_missing)).await.unwrap();
    let error = Lease::complete(open).await.unwrap_err();
    assert_eq!(error.cause().unwrap().code(), Some(rusqlite::ErrorCode::ConstraintViolation));

    let mut open = Lease::acquire(&tx).await.unwrap();
    assert!(open.call(|db| db.execute("INSERT INTO child VALUES (99)", ())).await.is_err(), "no such table");
    Lease::fail(open).await.unwrap();
}

/// A resource that keeps its only connection.
struct Single(parking_lot::Mutex<Option<reqscope_sqlite::SqliteConn>>);

impl Resource for Single {
    type Handle = reqscope_sqlite::SqliteConn;
    type Cause = SqliteError;

    async fn acquire(&self) -> Result<Self::Handle, Error<SqliteError>> {
        self.0.lock().take().ok_or_else(Error::exhausted)
    }

    fn reclaim(&self, conn: Self::Handle, _exit: Exit) -> Result<(), Self::Handle> {
        *self.0.lock() = Some(conn);
        Ok(())
    }
}

#[tokio::test]
async fn transaction_refuses_a_second_database() {
    /// Alternates between two databases.
    struct Alternating([Arc<Sqlite>; 2], std::sync::atomic::AtomicUsize);

    impl Resource for Alternating {
        type Handle = reqscope_sqlite::SqliteConn;
        type Cause = SqliteError;

        async fn acquire(&self) -> Result<Self::Handle, Error<SqliteError>> {
            let turn = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.0[turn % 2].acquire().await
        }
    }

    let router = Alternating([sqlite(), sqlite()], Default::default());
    let tx = Arc::new(Transaction::new(Arc::new(router)));
    Lease::complete(Lease::acquire(&tx).await.unwrap()).await.unwrap();
    let error = Lease::acquire(&tx).await.unwrap_err();
    assert!(error.is_permanent());
    assert!(matches!(error.cause(), Some(SqliteError::OtherDatabase)));
}

/// A pool around transactions answered success without a COMMIT.
#[test]
fn transactions_cannot_be_pooled_or_shared() {
    let connections = || Arc::new(Sqlite::new("app.db"));
    let messages = [
        expect_panic(|| Pool::new(Transaction::new(connections()))),
        expect_panic(|| Pool::new(Transaction::new(connections()).timeout(LIMIT))),
        expect_panic(|| Pool::new(Arc::new(Transaction::new(connections())).boxed())),
        expect_panic(|| Shared::new(Transaction::new(connections()))),
        expect_panic(|| Pool::new(ReadOnly::new(connections()))),
    ];
    assert!(messages[0].contains("Put the pool inside: Transaction<Pool<Sqlite>>"), "{messages:?}");
    assert!(messages[3].contains("Transaction<Pool<Sqlite>>"), "{messages:?}");
    assert!(messages[4].contains("Put the pool inside: ReadOnly<Pool<Sqlite>>"), "{messages:?}");
}

/// A statement after it would otherwise run outside of a transaction, and be committed.
#[tokio::test]
async fn begin_that_fails_is_the_error_of_the_first_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let sqlite = Arc::new(with_table().busy_timeout(Duration::ZERO).build(&path));
    let tx = writing(&sqlite);
    let mut open = Lease::acquire(&tx).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = insert(&mut open, 1).await.unwrap_err();
    assert!(error.is_busy(), "{error:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(insert(&mut open, 1).await, Err(SqliteError::RolledBack)));
    let error = Lease::complete(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(SqliteError::RolledBack)), "{error:?}");
    assert_eq!(rows(&sqlite).await, 0);

    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, 1).await.unwrap();
    Lease::complete(open).await.unwrap();
    assert_eq!(rows(&sqlite).await, 1);
}

#[tokio::test]
async fn transaction_without_a_call_gives_its_turn_back() {
    let tx = writing(&sqlite());
    for exit in [Exit::Completed, Exit::Failed] {
        Lease::end(Lease::acquire(&tx).await.unwrap(), exit).await.unwrap();
        drop(Lease::acquire(&tx).await.unwrap());
    }
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, 1).await.unwrap();
    Lease::complete(open).await.unwrap();
}
