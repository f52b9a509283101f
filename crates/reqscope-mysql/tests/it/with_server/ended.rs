//! A transaction that the server has ended, or that was replaced by another one, does not count as open.

use std::sync::Arc;

use reqscope::{Health, Lease, Pool, Resource};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError, Transaction};

use crate::with_server::operations::{OTHERS, STATEMENTS};
use crate::with_server::support::{
    assert_refused, bare, code, insert, next_user_is_served, pool, refusal, rows, shared, table,
};

async fn writing() -> Arc<Transaction<Pool<MySql>>> {
    Arc::new(Transaction::new(pool(1).await))
}

#[tokio::test]
async fn transaction_ended_by_a_statement_refuses_every_other() {
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
async fn commit_as_text_is_noticed_in_every_call() {
    let tx = writing().await;
    for (name, call) in STATEMENTS {
        let mut open = Lease::acquire(&tx).await.unwrap();
        call(&mut open, "COMMIT").await.unwrap();
        let error = refusal(open.query_drop("DO 1").await);
        assert!(matches!(error, MySqlError::NotOpen), "{name}: {error:?}");

        // Statements that do not end it are not mistaken for a commit.
        drop(Lease::fail(open));
        let mut open = Lease::acquire(&tx).await.unwrap();
        call(&mut open, "DO 1").await.unwrap();
        call(&mut open, "SELECT 1").await.unwrap();
        Lease::complete(open).await.unwrap();
    }
}

#[tokio::test]
async fn commit_among_unread_rows_is_noticed() {
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
async fn error_that_ends_no_transaction_does_not_refuse_the_next() {
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
async fn deadlock_victim_is_refused_and_the_winner_commits() {
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
    let (mut victim, outcome, winner) = if first.is_err() {
        second.unwrap();
        (one, first, two)
    } else {
        (two, second, one)
    };
    let error = refusal(outcome);
    assert!(error.is_try_again() && code(&error) == Some(1213), "{error:?}");

    // This statement would be committed on its own.
    let error = refusal(victim.query_drop("UPDATE deadlock SET n = 100").await);
    assert!(matches!(error, MySqlError::NotOpen), "{error:?}");
    assert_refused!(Lease::complete(victim).await, MySqlError::NotOpen);
    Lease::complete(winner).await.unwrap();
    let sum: Option<u64> = bare(shared().await).await.query_first("SELECT SUM(n) FROM deadlock").await.unwrap();
    assert_eq!(sum, Some(2));
}

/// A BEGIN or a COMMIT AND CHAIN as text replaces the transaction with another one, which must not be committed in its
/// place.
#[tokio::test]
async fn transaction_replaced_by_a_statement_cannot_be_committed() {
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
    assert_eq!(after, Some(0), "nothing of the other transaction");
}

/// Returns how often the server was pinged over this connection.
async fn pings(conn: &mut MySqlConn) -> u32 {
    let asked = "SHOW SESSION STATUS LIKE 'Com_admin_commands'";
    let (_name, pings): (String, u32) = conn.query_first(asked).await.expect("an answer").expect("a row");
    pings
}

/// The server is asked whether the transaction is open only if the last answer did not say: after an error, and after
/// rows.
#[tokio::test]
async fn ping_is_sent_only_if_no_answer_shows_the_transaction() {
    table("asked").await;
    let mut open = Lease::acquire(&writing().await).await.unwrap();
    let before = pings(&mut open).await;
    insert(&mut open, "asked", 1).await.unwrap();
    for (name, call) in STATEMENTS {
        if !["query_iter", "query_stream", "exec_iter", "exec_stream", "exec_batch"].contains(&name) {
            call(&mut open, "SELECT 1").await.unwrap();
            call(&mut open, "DO 1").await.unwrap();
        }
    }
    let statement = open.prep("SELECT ?").await.unwrap();
    open.close(statement).await.unwrap();
    assert_eq!(pings(&mut open).await, before);

    insert(&mut open, "asked", 1).await.unwrap_err();
    assert_eq!(pings(&mut open).await, before + 1, "after an error");
    drop(open.query_iter("SELECT 1").await.unwrap());
    assert_eq!(pings(&mut open).await, before + 2, "after rows");
    Lease::complete(open).await.unwrap();
}
