//! Savepoints: parts of a transaction that can be undone alone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use reqscope::{Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError, OpenTransaction, Transaction};
use reqscope_testkit::cancel_at;
use tokio::sync::Notify;

use crate::with_server::operations::{OTHERS, STATEMENTS};
use crate::with_server::support::{
    bare, code, cut_at_work, insert, next_user_is_served, pool, refusal, rows, shared, table,
};

type Open = Lease<Transaction<Pool<MySql>>>;

/// Begins a transaction on a new table, with one row inserted.
async fn begin(name: &str) -> Open {
    table(name).await;
    let tx = Arc::new(Transaction::new(pool(1).await));
    let mut open = Lease::acquire(&tx).await.expect("a transaction");
    insert(&mut open, name, 1).await.expect("it works");
    open
}

/// Commits, and returns the ids of the rows.
async fn committed(open: Open, name: &str) -> Vec<u32> {
    Lease::complete(open).await.expect("it commits");
    bare(shared().await).await.query(format!("SELECT id FROM {name} ORDER BY id")).await.expect("an answer")
}

#[tokio::test]
async fn released_savepoint_is_kept() {
    let mut open = begin("kept").await;
    let mut inner = open.savepoint().await.unwrap();
    insert(&mut inner, "kept", 2).await.unwrap();
    inner.release().await.unwrap();
    insert(&mut open, "kept", 3).await.unwrap();
    assert_eq!(rows("kept").await, 0, "nothing is committed before the transaction");
    assert_eq!(committed(open, "kept").await, [1, 2, 3]);
}

#[tokio::test]
async fn rollback_undoes_only_the_savepoint() {
    let mut open = begin("undone").await;
    let mut inner = open.savepoint().await.unwrap();
    insert(&mut inner, "undone", 2).await.unwrap();
    inner.rollback().await.unwrap();
    insert(&mut open, "undone", 3).await.unwrap();
    assert_eq!(committed(open, "undone").await, [1, 3]);
}

#[tokio::test]
async fn dropped_savepoint_is_undone_before_the_next_operation() {
    for (name, call) in STATEMENTS.into_iter().chain(OTHERS) {
        let mut open = begin("dropped_before").await;
        let mut inner = open.savepoint().await.unwrap();
        insert(&mut inner, "dropped_before", 2).await.unwrap();
        drop(inner);
        call(&mut open, "SELECT 1").await.unwrap();
        let mut eye = bare(shared().await).await;
        eye.query_drop("SET tx_isolation = 'READ-UNCOMMITTED'").await.unwrap();
        let seen: Vec<u32> = eye.query("SELECT id FROM dropped_before").await.unwrap();
        assert_eq!(seen, [1], "after {name}");
        assert_eq!(committed(open, "dropped_before").await, [1], "{name}");
    }
}

#[tokio::test]
async fn savepoint_dropped_right_before_the_commit_is_undone() {
    let mut open = begin("dropped_last").await;
    let mut inner = open.savepoint().await.unwrap();
    insert(&mut inner, "dropped_last", 2).await.unwrap();
    drop(inner);
    assert_eq!(committed(open, "dropped_last").await, [1]);
}

#[tokio::test]
async fn nested_savepoint_is_undone_with_the_outer_one() {
    let mut open = begin("nested").await;
    let mut outer = open.savepoint().await.unwrap();
    insert(&mut outer, "nested", 2).await.unwrap();
    let mut inner = outer.savepoint().await.unwrap();
    insert(&mut inner, "nested", 3).await.unwrap();
    inner.release().await.unwrap();
    insert(&mut outer, "nested", 4).await.unwrap();
    outer.rollback().await.unwrap();
    insert(&mut open, "nested", 5).await.unwrap();
    assert_eq!(committed(open, "nested").await, [1, 5]);
}

#[tokio::test]
async fn nested_savepoint_can_be_undone_alone() {
    let mut open = begin("nested_alone").await;
    let mut outer = open.savepoint().await.unwrap();
    insert(&mut outer, "nested_alone", 2).await.unwrap();
    let mut inner = outer.savepoint().await.unwrap();
    insert(&mut inner, "nested_alone", 3).await.unwrap();
    drop(inner);
    // A second savepoint in its place, before the first has been undone.
    let mut inner = outer.savepoint().await.unwrap();
    insert(&mut inner, "nested_alone", 4).await.unwrap();
    inner.release().await.unwrap();
    outer.release().await.unwrap();
    assert_eq!(committed(open, "nested_alone").await, [1, 2, 4]);
}

#[tokio::test]
async fn savepoints_dropped_together_are_all_undone() {
    let mut open = begin("nested_dropped").await;
    {
        let mut outer = open.savepoint().await.unwrap();
        insert(&mut outer, "nested_dropped", 2).await.unwrap();
        let mut inner = outer.savepoint().await.unwrap();
        insert(&mut inner, "nested_dropped", 3).await.unwrap();
    }
    insert(&mut open, "nested_dropped", 4).await.unwrap();
    assert_eq!(committed(open, "nested_dropped").await, [1, 4]);
}

#[tokio::test]
async fn released_outer_savepoint_keeps_nothing_of_a_dropped_inner() {
    let mut open = begin("outer_kept").await;
    let mut outer = open.savepoint().await.unwrap();
    let mut inner = outer.savepoint().await.unwrap();
    insert(&mut inner, "outer_kept", 2).await.unwrap();
    drop(inner);
    outer.release().await.unwrap();
    assert_eq!(committed(open, "outer_kept").await, [1]);
}

#[tokio::test]
async fn successive_savepoints_do_not_accumulate_on_the_server() {
    let mut open = begin("piled").await;
    for way in 0..9 {
        let mut inner = open.savepoint().await.unwrap();
        insert(&mut inner, "piled", 10 + way).await.unwrap();
        match way % 3 {
            0 => inner.release().await.unwrap(),
            1 => inner.rollback().await.unwrap(),
            _ => drop(inner),
        }
    }
    let error = refusal(open.query_drop("ROLLBACK TO SAVEPOINT reqscope_1").await);
    assert_eq!(code(&error), Some(1305), "all used the name of the first: {error:?}");
    assert_eq!(committed(open, "piled").await, [1, 10, 13, 16]);
}

/// Returns early or panics within its savepoint.
async fn fails_within(conn: &mut MySqlConn, name: &str, panics: bool) -> Result<(), MySqlError> {
    let mut inner = conn.savepoint().await?;
    insert(&mut inner, name, 2).await?;
    assert!(!panics, "in the middle");
    inner.query_drop("SELEKT").await?;
    inner.release().await
}

#[tokio::test]
async fn early_return_and_panic_undo_the_savepoint() {
    for panics in [false, true] {
        let mut open = begin("early").await;
        let outcome = AssertUnwindSafe(fails_within(&mut open, "early", panics)).catch_unwind().await;
        assert_eq!(outcome.is_err(), panics);
        assert!(!matches!(outcome, Ok(Ok(()))));
        insert(&mut open, "early", 3).await.unwrap();
        assert_eq!(committed(open, "early").await, [1, 3]);
    }
}

#[tokio::test]
async fn savepoint_cancelled_between_statements_is_undone_alone() {
    let mut open = begin("cancelled_between").await;
    let is_written = Notify::new();
    let work = async {
        let mut inner = open.savepoint().await?;
        insert(&mut inner, "cancelled_between", 2).await?;
        is_written.notify_one();
        std::future::pending::<Result<(), MySqlError>>().await
    };
    tokio::select! {
        _ = work => panic!("it never ends"),
        () = is_written.notified() => {}
    }
    insert(&mut open, "cancelled_between", 3).await.unwrap();
    assert_eq!(committed(open, "cancelled_between").await, [1, 3]);
}

#[tokio::test]
async fn savepoint_cut_in_a_statement_ends_the_transaction() {
    let mut eye = bare(shared().await).await;
    let mut open = begin("cut_within").await;
    let tx = Arc::clone(Lease::resource(&open));
    let id = open.id();
    let mut inner = open.savepoint().await.unwrap();
    insert(&mut inner, "cut_within", 2).await.unwrap();
    cut_at_work(&mut eye, id, "SLEEP(10)", inner.query_drop("DO SLEEP(10)")).await;
    drop(inner);
    let error = refusal(open.query_drop("DO 1").await);
    assert!(matches!(error, MySqlError::InDoubt), "{error:?}");
    let error = Lease::complete(open).await.unwrap_err();
    assert!(matches!(error.cause(), Some(MySqlError::InDoubt)), "{error:?}");
    next_user_is_served(tx.get_ref()).await;
    assert_eq!(rows("cut_within").await, 0);
}

/// Cuts one of the steps of a savepoint at this poll: opening, release, rollback, or the undo of a dropped one.
async fn cut_at(polls: usize, step: usize, open: &mut OpenTransaction<Pool<MySql>>) -> bool {
    if step == 0 {
        return cancel_at(polls, open.savepoint()).await.is_some();
    }
    let mut inner = open.savepoint().await.expect("a savepoint");
    insert(&mut inner, "cut_savepoints", 2).await.expect("it works");
    match step {
        1 => cancel_at(polls, inner.release()).await.is_some(),
        2 => cancel_at(polls, inner.rollback()).await.is_some(),
        _ => {
            drop(inner);
            cancel_at(polls, open.ping()).await.is_some()
        }
    }
}

#[tokio::test]
async fn savepoint_cut_at_any_poll_is_never_half_committed() {
    for step in 0..4 {
        for polls in 0.. {
            let mut open = begin("cut_savepoints").await;
            let tx = Arc::clone(Lease::resource(&open));
            let is_over = cut_at(polls, step, &mut open).await;
            let outcome = Lease::complete(open).await;
            next_user_is_served(tx.get_ref()).await;
            let rows = rows("cut_savepoints").await;
            // If nothing was sent or everything was answered, it commits; otherwise nothing is committed.
            if polls == 0 || is_over {
                outcome.unwrap();
                assert_eq!(rows, if step == 1 && is_over { 2 } else { 1 }, "step {step}, poll {polls}");
            } else {
                let error = outcome.unwrap_err();
                assert!(matches!(error.cause(), Some(MySqlError::InDoubt)), "step {step}, poll {polls}: {error:?}");
                assert_eq!(rows, 0, "step {step}, poll {polls}");
            }
            if is_over {
                assert!(polls > 1, "it was never cut");
                break;
            }
        }
    }
}

#[tokio::test]
async fn savepoint_outside_a_transaction_is_refused() {
    let mut conn = Lease::acquire(&pool(1).await).await.unwrap();
    let error = conn.savepoint().await.map(drop).unwrap_err();
    assert!(matches!(error, MySqlError::NotOpen), "{error:?}");

    let mut open = begin("ended_within").await;
    open.query_drop("COMMIT").await.unwrap();
    let error = open.savepoint().await.map(drop).unwrap_err();
    assert!(matches!(error, MySqlError::NotOpen), "{error:?}");
}

#[tokio::test]
async fn savepoint_unknown_to_the_server_keeps_nothing() {
    let mut open = begin("forgotten").await;
    let mut inner = open.savepoint().await.unwrap();
    insert(&mut inner, "forgotten", 2).await.unwrap();
    inner.query_drop("COMMIT; BEGIN").await.unwrap();
    let error = inner.release().await.unwrap_err();
    assert_eq!(code(&error), Some(1305), "{error:?}");
    // It cannot be undone alone, so the transaction is stuck.
    let error = refusal(insert(&mut open, "forgotten", 3).await);
    assert_eq!(code(&error), Some(1305), "{error:?}");
    Lease::complete(open).await.unwrap_err();
    assert_eq!(rows("forgotten").await, 2, "the rows committed by the COMMIT as text");
}
