//! A client that hangs up during a COMMIT does not affect it, and a COMMIT whose deadline passes leaves nothing behind.

use std::sync::Arc;

use reqscope::{Exit, Lease, Reaper, Resource, Scopes};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{Connections, MySqlConn, Transaction};
use reqscope_testkit::{MariaDb, cancel_at};

use crate::with_server::support::{
    PATIENCE, bare, cut_at_work, doing, insert, mysql, next_user_is_served, pool, rows, rows_on, server_pool, shared,
    table, table_on, until_gone,
};

/// Returns whether there is a committed row with this id that is not locked.
async fn is_there(table: &str, id: u32) -> bool {
    let mut eye = bare(shared().await).await;
    let asked = format!("SELECT id FROM {table} WHERE id = ? FOR UPDATE NOWAIT");
    eye.exec_first::<u32, _, _>(asked, (id,)).await.expect("the row is not locked").is_some()
}

/// Drops the release at each of its polls, as if the client had hung up, and checks that the COMMIT still happens.
async fn commits_whenever_the_client_leaves<P>(name: &str, connections: Arc<P>)
where
    P: Connections<Connection = MySqlConn>,
{
    table(name).await;
    let tx = Arc::new(Transaction::new(connections));
    for polls in 0.. {
        let reaper = Reaper::new();
        let mut open = Lease::acquire_in(&reaper, &tx).await.expect("a transaction");
        insert(&mut open, name, polls).await.expect("it works");
        let outcome = cancel_at(polls as usize, Lease::complete(open)).await;
        let report = reaper.drain(PATIENCE).await;
        assert!(report.is_clean(), "{report:?}");
        assert!(is_there(name, polls).await, "the client left at poll {polls}");
        next_user_is_served(tx.get_ref()).await;
        if let Some(outcome) = outcome {
            outcome.expect("it was committed");
            assert!(polls > 1, "the client never left");
            break;
        }
    }
}

#[tokio::test]
async fn bare_commit_continues_at_whichever_poll_the_client_leaves() {
    commits_whenever_the_client_leaves("left_bare", Arc::new(mysql().await)).await;
}

#[tokio::test]
async fn pooled_commit_continues_at_whichever_poll_the_client_leaves() {
    let pool = pool(1).await;
    commits_whenever_the_client_leaves("left_pooled", Arc::clone(&pool)).await;
    assert_eq!(pool.status().created, 1, "and the connection stays good");
}

#[tokio::test]
async fn scope_commits_at_whichever_poll_the_client_leaves() {
    table("left_scope").await;
    let tx = Arc::new(Transaction::new(pool(1).await));
    for polls in 0.. {
        let scopes = Scopes::new();
        let scope = scopes.open();
        insert(&mut scope.lazy(&tx).get().await.unwrap(), "left_scope", polls).await.unwrap();
        let outcome = cancel_at(polls as usize, scope.close(Exit::Completed)).await;
        let report = scopes.drain(PATIENCE).await;
        assert!(report.is_clean(), "{report:?}");
        assert!(is_there("left_scope", polls).await, "the client left at poll {polls}");
        if let Some(outcome) = outcome {
            outcome.unwrap();
            assert!(polls > 1, "the client never left");
            break;
        }
    }
    next_user_is_served(tx.get_ref()).await;
}

#[tokio::test]
async fn rollback_continues_at_whichever_poll_the_client_leaves() {
    table("left_rollback").await;
    let pool = pool(1).await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    for polls in 0.. {
        let reaper = Reaper::new();
        let mut open = Lease::acquire_in(&reaper, &tx).await.unwrap();
        insert(&mut open, "left_rollback", 1).await.unwrap();
        let outcome = cancel_at(polls, Lease::fail(open)).await;
        let report = reaper.drain(PATIENCE).await;
        assert!(report.is_clean(), "{report:?}");
        assert!(!is_there("left_rollback", 1).await, "the client left at poll {polls}");
        if outcome.is_some() {
            break;
        }
    }
    next_user_is_served(&pool).await;
    assert_eq!(pool.status().created, 1);
}

/// A release that is dropped at any poll, as its deadline does, ends its connection: no other user gets it, and no lock
/// stays.
#[tokio::test]
async fn dropped_release_ends_its_connection_and_leaves_no_lock() {
    table("dropped").await;
    let pool = pool(1).await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    for exit in [Exit::Completed, Exit::Failed] {
        for polls in 0.. {
            let mut open = Lease::acquire(&tx).await.unwrap();
            let id = open.id();
            insert(&mut open, "dropped", polls).await.unwrap();
            // Dropped as by the deadline of a release.
            let outcome = cancel_at(polls as usize, tx.release(Lease::into_handle(open), exit)).await;
            let next = next_user_is_served(&pool).await;
            let committed = is_there("dropped", polls).await;
            if let Some(outcome) = outcome {
                outcome.unwrap();
                assert_eq!(committed, exit.is_completed());
                assert!(polls > 0, "it was never cut");
                break;
            }
            assert_eq!(next == id, polls == 0, "cut at poll {polls}");
            // A COMMIT that was not sent has not happened; one that was sent may have.
            assert!(!committed || exit.is_completed() && polls > 0, "cut at poll {polls}");
        }
        bare(shared().await).await.query_drop("DELETE FROM dropped").await.unwrap();
    }
}

#[tokio::test]
async fn dropped_bare_release_leaves_no_connection_and_no_lock() {
    table("dropped_bare").await;
    let mut eye = bare(shared().await).await;
    let tx = Arc::new(Transaction::new(Arc::new(mysql().await)));
    for polls in 0.. {
        let mut open = Lease::acquire(&tx).await.unwrap();
        let id = open.id();
        insert(&mut open, "dropped_bare", polls).await.unwrap();
        let outcome = cancel_at(polls as usize, tx.release(Lease::into_handle(open), Exit::Completed)).await;
        until_gone(&mut eye, id).await;
        let committed = is_there("dropped_bare", polls).await;
        assert!(!committed || polls > 0);
        if let Some(outcome) = outcome {
            outcome.unwrap();
            assert!(committed && polls > 0);
            break;
        }
    }
}

/// A COMMIT that is cut while a global read lock holds it up is rolled back when its connection is killed.
#[tokio::test]
async fn commit_cut_while_the_server_holds_it_is_undone() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "held").await;
    let (mut eye, mut lock) = (bare(&server).await, bare(&server).await);
    let pool = server_pool(&server, 1);
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut open = Lease::acquire(&tx).await.unwrap();
    let id = open.id();
    insert(&mut open, "held", 1).await.unwrap();

    // No COMMIT completes while this lock is held.
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();
    let release = tx.release(Lease::into_handle(open), Exit::Completed);
    cut_at_work(&mut eye, id, "COMMIT", release).await;
    assert_ne!(next_user_is_served(&pool).await, id);
    assert_eq!(doing(&mut eye, id).await, None);
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    assert_eq!(rows_on(&server, "held").await, 0);
}

#[tokio::test]
async fn client_that_leaves_during_a_held_commit_does_not_undo_it() {
    let server = MariaDb::start().await.unwrap();
    table_on(&server, "held").await;
    let (mut eye, mut lock) = (bare(&server).await, bare(&server).await);
    let tx = Arc::new(Transaction::new(server_pool(&server, 1)));
    let scopes = Scopes::new();
    let scope = scopes.open();
    let mut open = scope.lazy(&tx).get().await.unwrap();
    let id = open.id();
    insert(&mut open, "held", 1).await.unwrap();
    drop(open);

    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.unwrap();
    cut_at_work(&mut eye, id, "COMMIT", scope.close(Exit::Completed)).await;
    lock.query_drop("UNLOCK TABLES").await.unwrap();
    let report = scopes.drain(PATIENCE).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(rows_on(&server, "held").await, 1);
    assert_eq!(next_user_is_served(tx.get_ref()).await, id, "a good connection");
}

#[tokio::test]
async fn begin_cut_at_any_poll_leaves_no_transaction() {
    table("begins").await;
    let pool = pool(1).await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    for polls in 0.. {
        let Some(open) = cancel_at(polls, tx.acquire()).await else {
            next_user_is_served(&pool).await;
            continue;
        };
        let mut open = open.unwrap();
        insert(&mut open, "begins", 1).await.unwrap();
        tx.release(open, Exit::Completed).await.unwrap();
        assert!(polls > 1, "it was never cut");
        break;
    }
    assert_eq!(rows("begins").await, 1);
}
