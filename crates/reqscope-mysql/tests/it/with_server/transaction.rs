//! A transaction ends with its request: committed when that has completed, and rolled back otherwise.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use reqscope::{Exit, Health, Lease, Pool, Problem, Resource, Scopes};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Error, IsolationLevel};
use reqscope_mysql::{MySql, MySqlConn, MySqlError, Transaction};

use crate::with_server::operations::{OTHERS, STATEMENTS};
use crate::with_server::support::{
    PATIENCE, bare, code, cut_at_work, doing, insert, mysql, next_user_is_served, pool, refusal, rows, shared, table,
};

type Pooled = Transaction<Pool<MySql>>;

async fn writing() -> Arc<Pooled> {
    Arc::new(Transaction::new(pool(1).await))
}

/// Refused with this error as its cause.
macro_rules! assert_refused {
    ($outcome:expr, $cause:pat $(, $after:expr)?) => {
        let error = $outcome.unwrap_err();
        assert!(matches!(error.cause(), Some($cause)), "{error:?} {:?}", ($($after)?));
    };
}

#[tokio::test]
async fn completed_commits_and_everything_else_rolls_back() {
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
async fn a_scope_commits_all_that_its_functions_did_before_its_close_is_over() {
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
async fn a_scope_that_fails_is_dropped_or_panics_rolls_back() {
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
async fn only_a_commit_matters_to_the_client() {
    let tx = writing().await;
    let reading = Transaction::read_only(Arc::clone(tx.get_ref()));
    for exit in [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked] {
        assert_eq!(tx.settles(exit), exit.is_completed(), "{exit}");
        assert!(!reading.settles(exit), "{exit}");
    }
}

/// Which isolation level this is, by what it sees: of a row that is not committed, and of one that is committed later.
async fn behaves_as(open: &mut MySqlConn) -> &'static str {
    table("levels").await;
    let (mut writer, mut other) = (bare(shared().await).await, bare(shared().await).await);
    writer.query_drop("BEGIN; INSERT INTO levels VALUES (1, 0)").await.expect("it is alone");
    let rows = "SELECT count(*) FROM levels WHERE id > 0";
    let first = open.query_first::<u64, _>(rows).await;
    other.query_drop("INSERT INTO levels VALUES (2, 0)").await.expect("nobody has locked this one");
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
async fn each_isolation_level_holds_for_its_own_transactions() {
    // Who has to wait for a lock does not.
    let mysql = MySql::builder(&shared().await.url()).unwrap().setup("SET innodb_lock_wait_timeout = 0").build();
    let pool = Arc::new(MySql::pool_builder().max_size(1).build(mysql));
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
async fn a_transaction_that_only_reads_refuses_writes_and_goes_on() {
    table("only_read").await;
    let tx = Arc::new(Transaction::read_only(pool(1).await));
    let mut open = Lease::acquire(&tx).await.unwrap();
    let error = refusal(insert(&mut open, "only_read", 1).await);
    assert_eq!(code(&error), Some(1792), "{error:?}");
    assert_eq!(open.query_first("SELECT count(*) FROM only_read").await.unwrap(), Some(0_u64));
    Lease::complete(open).await.unwrap();

    // The connection can write again.
    let mut conn = Lease::acquire(tx.get_ref()).await.unwrap();
    insert(&mut conn, "only_read", 1).await.unwrap();
}

#[tokio::test]
async fn a_consistent_snapshot_is_of_the_beginning_and_not_of_the_first_read() {
    table("snapshot").await;
    let pool = pool(3).await;
    let all = [
        (Transaction::new(Arc::clone(&pool)), 1_u64),
        (Transaction::new(Arc::clone(&pool)).consistent_snapshot(), 0),
        (Transaction::read_only(pool).consistent_snapshot(), 0),
    ];
    let mut open = Vec::new();
    for (tx, expected) in all {
        open.push((Lease::acquire(&Arc::new(tx)).await.unwrap(), expected));
    }
    bare(shared().await).await.query_drop("INSERT INTO snapshot VALUES (1, 0)").await.unwrap();
    for (mut open, expected) in open {
        assert_eq!(open.query_first("SELECT count(*) FROM snapshot").await.unwrap(), Some(expected));
        Lease::complete(open).await.unwrap();
    }
}

#[tokio::test]
async fn a_transaction_with_a_cut_statement_cannot_be_committed() {
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

#[tokio::test]
async fn a_transaction_that_a_statement_has_ended_refuses_whatever_comes_next() {
    table("ended").await;
    let tx = writing().await;
    for (id, end) in [
        "COMMIT",
        "ROLLBACK",
        "CREATE TABLE IF NOT EXISTS made_inside (id INT)",
        "COMMIT; INSERT INTO ended VALUES (1000, 0)",
        "SET autocommit = 1; COMMIT; SELECT 1",
    ]
    .into_iter()
    .enumerate()
    {
        let mut open = Lease::acquire(&tx).await.unwrap();
        insert(&mut open, "ended", u32::try_from(id).unwrap()).await.unwrap();
        open.query_drop(end).await.unwrap();
        let before = rows("ended").await;
        for (name, call) in STATEMENTS.into_iter().chain(OTHERS) {
            let error = refusal(call(&mut open, "INSERT INTO ended VALUES (2000, 0)").await);
            assert!(matches!(error, MySqlError::NotOpen), "{name} after {end}: {error:?}");
        }
        assert_eq!(tx.probe(&open), Health::Dead, "{end}");
        assert_refused!(tx.validate(&mut open).await, MySqlError::NotOpen, end);
        assert_refused!(Lease::complete(open).await, MySqlError::NotOpen, end);
        assert_eq!(rows("ended").await, before, "{end}");
    }
}

#[tokio::test]
async fn every_way_to_say_commit_is_heard() {
    let tx = writing().await;
    for (name, call) in STATEMENTS {
        let mut open = Lease::acquire(&tx).await.unwrap();
        call(&mut open, "COMMIT").await.unwrap();
        let error = refusal(open.query_drop("DO 1").await);
        assert!(matches!(error, MySqlError::NotOpen), "{name}: {error:?}");

        // And what is no end of it is not taken for one.
        drop(Lease::fail(open));
        let mut open = Lease::acquire(&tx).await.unwrap();
        call(&mut open, "DO 1").await.unwrap();
        call(&mut open, "SELECT 1").await.unwrap();
        Lease::complete(open).await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_among_rows_that_nobody_has_read_is_heard() {
    let tx = writing().await;
    let mut open = Lease::acquire(&tx).await.unwrap();
    drop(open.query_iter("SELECT 1; COMMIT; SELECT 2").await.unwrap());
    assert_refused!(Lease::complete(open).await, MySqlError::NotOpen);
}

#[tokio::test]
async fn preparing_and_closing_a_statement_ends_no_transaction() {
    table("prepared").await;
    let tx = writing().await;
    let mut open = Lease::acquire(&tx).await.unwrap();
    let statement = open.prep("INSERT INTO prepared VALUES (?, 0)").await.unwrap();
    open.exec_batch(&statement, [(1,), (2,)]).await.unwrap();
    open.close(statement).await.unwrap();
    open.ping().await.unwrap();
    Lease::complete(open).await.unwrap();
    assert_eq!(rows("prepared").await, 2);
}

#[tokio::test]
async fn an_error_that_ends_no_transaction_is_no_reason_to_refuse() {
    table("goes_on").await;
    let tx = writing().await;
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, "goes_on", 1).await.unwrap();
    assert_eq!(code(&refusal(insert(&mut open, "goes_on", 1).await)), Some(1062));
    assert_eq!(code(&refusal(open.query_drop("SELEKT").await)), Some(1064));
    insert(&mut open, "goes_on", 2).await.unwrap();
    Lease::complete(open).await.unwrap();
    assert_eq!(rows("goes_on").await, 2);
}

#[tokio::test]
async fn the_victim_of_a_deadlock_is_refused_and_the_other_one_commits() {
    table("deadlock").await;
    bare(shared().await).await.query_drop("INSERT INTO deadlock VALUES (1, 0), (2, 0)").await.unwrap();
    let tx = Arc::new(Transaction::new(pool(2).await));
    let (mut one, mut two) = (Lease::acquire(&tx).await.unwrap(), Lease::acquire(&tx).await.unwrap());
    one.query_drop("UPDATE deadlock SET n = n + 1 WHERE id = 1").await.unwrap();
    two.query_drop("UPDATE deadlock SET n = n + 1 WHERE id = 2").await.unwrap();
    let (first, second) = tokio::join!(
        one.query_drop("UPDATE deadlock SET n = n + 1 WHERE id = 2"),
        two.query_drop("UPDATE deadlock SET n = n + 1 WHERE id = 1"),
    );
    let (mut victim, heard, winner) = if first.is_err() {
        second.unwrap();
        (one, first, two)
    } else {
        (two, second, one)
    };
    let error = refusal(heard);
    assert!(error.is_try_again() && code(&error) == Some(1213), "{error:?}");

    // What came now would be committed by itself.
    let error = refusal(victim.query_drop("UPDATE deadlock SET n = 100").await);
    assert!(matches!(error, MySqlError::NotOpen), "{error:?}");
    assert_refused!(Lease::complete(victim).await, MySqlError::NotOpen);
    Lease::complete(winner).await.unwrap();
    let sum: Option<u64> = bare(shared().await).await.query_first("SELECT SUM(n) FROM deadlock").await.unwrap();
    assert_eq!(sum, Some(2));
}

#[tokio::test]
async fn what_cannot_be_committed_is_rolled_back_before_its_connection_goes_back() {
    table("uncommitted").await;
    // A pool that resets nobody who has ended in order.
    let pool = Arc::new(Pool::builder().max_size(1).build(mysql().await));
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut open = Lease::acquire(&tx).await.unwrap();
    insert(&mut open, "uncommitted", 1).await.unwrap();
    let mut inner = open.savepoint().await.unwrap();
    inner.query_drop("RELEASE SAVEPOINT reqscope_0").await.unwrap();
    // To be undone before the COMMIT, which cannot be any more.
    drop(inner);
    let error = Lease::complete(open).await.unwrap_err();
    assert_eq!(error.cause().and_then(code), Some(1305), "{error:?}");

    let mut next = Lease::acquire(&pool).await.unwrap();
    assert_eq!(next.query_first("SELECT @@in_transaction").await.unwrap(), Some(0_u8));
    Lease::complete(next).await.unwrap();
    let mut next = Lease::acquire(&tx).await.unwrap();
    insert(&mut next, "uncommitted", 2).await.unwrap();
    Lease::complete(next).await.unwrap();
    assert_eq!(rows("uncommitted").await, 1, "only the second one's");
}

#[tokio::test]
async fn a_transaction_that_a_statement_has_put_another_in_the_place_of_cannot_be_committed() {
    table("replaced").await;
    let tx = writing().await;
    for (id, end) in ["BEGIN", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "START TRANSACTION", "COMMIT; BEGIN"]
        .into_iter()
        .enumerate()
    {
        let mut open = Lease::acquire(&tx).await.unwrap();
        insert(&mut open, "replaced", u32::try_from(id).unwrap()).await.unwrap();
        open.query_drop(end).await.unwrap();
        insert(&mut open, "replaced", u32::try_from(id).unwrap() + 100).await.unwrap();
        assert_refused!(Lease::complete(open).await, MySqlError::NotOpen, end);
        next_user_is_served(tx.get_ref()).await;
    }
    let after: Option<u64> =
        bare(shared().await).await.query_first("SELECT count(*) FROM replaced WHERE id >= 100").await.unwrap();
    assert_eq!(after, Some(0), "nothing of what came after");
}
