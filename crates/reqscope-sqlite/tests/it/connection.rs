use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope::{Exit, Health, Lease, Reaper, Resource};
use reqscope_sqlite::{Sqlite, SqliteError, rusqlite};
use reqscope_testkit::{cancel_at, poll_once, until};
use tokio::sync::oneshot;

use crate::support::{PATIENCE, all_closed, count, endless, insert, rows, sqlite, stranger, with_table, writing};

#[tokio::test]
async fn a_closure_runs_on_the_thread_of_its_connection() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let here = std::thread::current().id();
    let (there, name) = conn
        .call(|_| Ok((std::thread::current().id(), std::thread::current().name().map(str::to_owned))))
        .await
        .unwrap();
    assert_ne!(here, there);
    assert_eq!(name.as_deref(), Some("reqscope-sqlite"));
    assert_eq!(conn.call(|_| Ok(std::thread::current().id())).await.unwrap(), there);
}

#[tokio::test]
async fn every_connection_has_the_documented_settings() {
    let sqlite = sqlite();
    for _ in 0..2 {
        let mut conn = Lease::acquire(&sqlite).await.unwrap();
        let read = conn.call(|db| {
            let one = |pragma| db.query_row(pragma, (), |row| row.get::<_, rusqlite::types::Value>(0));
            Ok((one("PRAGMA journal_mode")?, one("PRAGMA synchronous")?, one("PRAGMA foreign_keys")?))
        });
        assert_eq!(read.await.unwrap(), ("wal".to_owned().into(), 1.into(), 1.into()));
        Lease::complete(conn).await.unwrap();
    }
}

#[tokio::test]
async fn an_error_of_sqlite_leaves_the_connection_ready() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let error = conn.call(|db| db.execute("no sql", ())).await.unwrap_err();
    assert!(matches!(error, SqliteError::Sqlite(_)));
    assert_eq!(sqlite.probe(&conn), Health::Ready);
    assert_eq!(count(&mut conn).await, 0);
}

#[tokio::test]
async fn dropping_a_call_interrupts_its_statement_and_validate_proves_the_connection() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    tokio::select! {
        _ = conn.call(endless(begun)) => unreachable!("it never ends"),
        _ = has_begun => {}
    }
    let cut = Instant::now();
    assert_eq!(sqlite.probe(&conn), Health::Dead);
    assert!(matches!(conn.call(|_| Ok(())).await, Err(SqliteError::InDoubt)));
    sqlite.validate(&mut conn).await.unwrap();
    println!("a running statement was left in {:?}", cut.elapsed());
    assert_eq!(sqlite.probe(&conn), Health::Ready);
    assert_eq!(count(&mut conn).await, 0);
}

/// An interrupt alone is lost if no statement runs in the moment that it comes.
#[tokio::test]
async fn dropping_a_call_stops_the_statements_that_are_still_to_come() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let call = conn.call(move |db| {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
        db.query_row(crate::support::FOREVER, (), |_| Ok(()))
    });
    tokio::select! {
        _ = call => unreachable!("it waits"),
        _ = has_begun => {}
    }
    go_on.send(()).unwrap();
    sqlite.validate(&mut conn).await.unwrap();
}

#[tokio::test]
async fn dropping_a_call_ends_its_wait_for_a_lock() {
    let sqlite = Arc::new(with_table().busy_timeout(PATIENCE * 100).build_temporary().unwrap());
    let mut conn = sqlite.acquire().await.unwrap();
    let other = stranger(&sqlite);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let mut left = Vec::new();
    for _ in 0..20 {
        let waiting = tokio::time::timeout(Duration::from_millis(20), insert(&mut conn, 1));
        assert!(waiting.await.is_err(), "the stranger has the lock");
        let cut = Instant::now();
        sqlite.validate(&mut conn).await.unwrap();
        left.push(cut.elapsed());
    }
    left.sort();
    println!("20 waits for a lock were left in {:?} (median), {:?} (slowest)", left[10], left[19]);
    // The promise is 10 ms. The fastest must keep it on any machine; the slowest waits for a loaded one's scheduler.
    assert!(left[0] < Duration::from_millis(10), "{left:?}");
    assert!(left[19] < Duration::from_secs(2), "{left:?}");
    other.execute_batch("ROLLBACK").unwrap();
    insert(&mut conn, 1).await.unwrap();
}

#[tokio::test]
async fn a_wait_for_a_lock_ends_at_its_bound() {
    let sqlite = Arc::new(with_table().busy_timeout(Duration::from_millis(30)).build_temporary().unwrap());
    let mut conn = sqlite.acquire().await.unwrap();
    let other = stranger(&sqlite);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        let error = insert(&mut conn, 1).await.unwrap_err();
        assert!(error.is_busy(), "{error:?}");
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
    assert_eq!(sqlite.probe(&conn), Health::Ready);
}

#[tokio::test]
async fn a_panic_costs_neither_the_thread_nor_the_connection() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let panicked = conn.call(|_| -> rusqlite::Result<()> { panic!("on {}", "purpose") }).await;
    assert!(matches!(panicked, Err(SqliteError::Panicked(said)) if said == "on purpose"));
    assert_eq!(sqlite.probe(&conn), Health::Dead);
    assert!(matches!(conn.call(|_| Ok(())).await, Err(SqliteError::InDoubt)));
    sqlite.validate(&mut conn).await.unwrap();
    assert_eq!(count(&mut conn).await, 0);
}

#[tokio::test]
async fn a_destructor_that_panics_on_the_thread_hangs_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor of a test");
        }
    }

    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let call = conn.call(move |_| {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
        Ok(Bomb)
    });
    tokio::select! {
        _ = call => unreachable!("it waits"),
        _ = has_begun => {}
    }
    go_on.send(()).unwrap();
    let error = sqlite.validate(&mut conn).await.unwrap_err();
    assert!(matches!(error.cause(), Some(SqliteError::ThreadGone)), "{error:?}");
    assert_eq!(sqlite.probe(&conn), Health::Dead);
    sqlite.release(conn, Exit::Cancelled).await.unwrap_err();
    assert_eq!(rows(&sqlite).await, 0);
}

#[tokio::test]
async fn a_call_that_was_forgotten_is_found_and_stopped() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    let mut call = Box::pin(conn.call(endless(begun)));
    assert!(poll_once(call.as_mut()).is_pending());
    has_begun.await.unwrap();
    mem::forget(call);

    assert_eq!(sqlite.probe(&conn), Health::Dead);
    sqlite.validate(&mut conn).await.unwrap();
    assert_eq!(sqlite.probe(&conn), Health::Ready);
}

#[tokio::test]
async fn a_call_that_was_never_polled_has_done_nothing() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    drop(insert(&mut conn, 1));
    assert_eq!(sqlite.probe(&conn), Health::Ready);
    assert_eq!(count(&mut conn).await, 0);
}

#[tokio::test]
async fn what_a_closure_left_open_is_rolled_back_by_validate() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    conn.call(|db| db.execute_batch("BEGIN; INSERT INTO t (v) VALUES (1)")).await.unwrap();
    assert_eq!(sqlite.probe(&conn), Health::Unknown);
    sqlite.validate(&mut conn).await.unwrap();
    assert_eq!(sqlite.probe(&conn), Health::Ready);
    assert_eq!(count(&mut conn).await, 0);
}

#[tokio::test]
async fn an_own_transaction_on_a_bare_connection_commits() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    let own = conn.call(|db| {
        let tx = db.transaction()?;
        tx.execute("INSERT INTO t (v) VALUES (1)", ())?;
        tx.commit()
    });
    own.await.unwrap();
    assert_eq!(rows(&sqlite).await, 1);
}

#[tokio::test]
async fn validate_renews_the_hooks_that_a_closure_took_away() {
    let sqlite = sqlite();
    let mut conn = sqlite.acquire().await.unwrap();
    conn.call(|db| db.progress_handler(0, None::<fn() -> bool>)).await.unwrap();
    conn.call(|db| db.busy_timeout(PATIENCE * 100)).await.unwrap();
    sqlite.validate(&mut conn).await.unwrap();

    stranger(&sqlite).execute_batch("PRAGMA user_version = 1").unwrap();
    let other = stranger(&sqlite);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), insert(&mut conn, 1)).await.is_err());
    tokio::time::timeout(PATIENCE, sqlite.validate(&mut conn)).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_hook_runs_for_each_connection_and_its_error_or_panic_fails_the_acquisition() {
    let failing = Sqlite::builder().on_open(|db| db.execute_batch("no sql"));
    let error = failing.build_temporary().unwrap().acquire().await.unwrap_err();
    assert!(matches!(error.cause(), Some(SqliteError::Sqlite(_))), "{error:?}");

    let panicking = Sqlite::builder().on_open(|_| panic!("in the hook"));
    let error = panicking.build_temporary().unwrap().acquire().await.unwrap_err();
    assert!(error.is_panicked(), "{error:?}");
    assert!(error.to_string().ends_with("in the hook"), "{error}");
}

#[tokio::test]
async fn nothing_stays_open_wherever_an_acquisition_is_cut() {
    for n in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.db");
        let sqlite = Arc::new(with_table().build(&path));
        let done = cancel_at(n, sqlite.acquire()).await.is_some();
        drop(sqlite);
        all_closed(&path).await;
        if done {
            assert!(n > 1, "it waits at least once");
            break;
        }
    }
}

/// A stranger who holds the whole file keeps even the first look at it waiting.
#[tokio::test]
async fn an_acquisition_that_waits_for_a_lock_is_left_when_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locked.db");
    let stranger = rusqlite::Connection::open(&path).unwrap();
    stranger.execute_batch("CREATE TABLE t (v); BEGIN EXCLUSIVE").unwrap();

    let token = Arc::new(());
    let gone = Arc::downgrade(&token);
    let sqlite = Sqlite::builder().busy_timeout(PATIENCE * 100).on_open(move |_| {
        assert_eq!(*token, ());
        Ok(())
    });
    let sqlite = sqlite.build(&path);
    assert!(tokio::time::timeout(Duration::from_millis(20), sqlite.acquire()).await.is_err());
    drop(sqlite);
    // The thread has the last copy of the hook.
    until(PATIENCE, || gone.strong_count() == 0).await;
    stranger.execute_batch("ROLLBACK").unwrap();
}

/// L13: a closure that SQLite cannot interrupt holds its slot until it is over.
#[tokio::test]
async fn a_connection_in_doubt_is_released_when_its_thread_has_left_the_closure() {
    let sqlite = sqlite();
    let reaper = Reaper::new();
    let mut conn = Lease::acquire_in(&reaper, &sqlite).await.unwrap();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let call = conn.call(move |_| {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
        Ok(())
    });
    tokio::select! {
        _ = call => unreachable!("it waits"),
        _ = has_begun => {}
    }
    drop(conn);
    assert!(!reaper.drain(Duration::from_millis(20)).await.is_clean());
    go_on.send(()).unwrap();
    assert!(reaper.drain(PATIENCE).await.is_clean());
    assert_eq!(reaper.stats().released, 1);
}

/// Each verb in turn, cut at each of its awaits: the next user finds a database without a lock, and nothing half done.
#[tokio::test]
async fn a_verb_that_is_cut_anywhere_leaves_a_database_that_works() {
    for verb in ["call", "validate", "release", "begin", "commit", "rollback"] {
        for n in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("cut.db");
            let sqlite = Arc::new(with_table().busy_timeout(PATIENCE).build(&path));
            let tx = writing(&sqlite);
            let done = match verb {
                "call" => {
                    let mut conn = Lease::acquire(&sqlite).await.unwrap();
                    cut(n, insert(&mut conn, 1)).await
                }
                "validate" => {
                    let mut conn = Lease::acquire(&sqlite).await.unwrap();
                    conn.call(|db| db.execute_batch("BEGIN IMMEDIATE; INSERT INTO t (v) VALUES (1)")).await.unwrap();
                    cut(n, sqlite.validate(&mut conn)).await
                }
                "release" => {
                    let mut conn = sqlite.acquire().await.unwrap();
                    conn.call(|db| db.execute_batch("BEGIN IMMEDIATE; INSERT INTO t (v) VALUES (1)")).await.unwrap();
                    cut(n, sqlite.release(conn, Exit::Cancelled)).await
                }
                "begin" => cut(n, tx.acquire()).await,
                _ => {
                    let mut open = tx.acquire().await.unwrap();
                    insert(&mut open, 1).await.unwrap();
                    let exit = if verb == "commit" { Exit::Completed } else { Exit::Cancelled };
                    cut(n, tx.release(open, exit)).await
                }
            };
            // Whatever was cut is stopped by its own thread; a writer behind it gets its turn.
            let mut next = tokio::time::timeout(PATIENCE, Lease::acquire(&tx)).await.unwrap().unwrap();
            let before = count(&mut next).await;
            assert!(before <= 1, "{verb} cut at {n}");
            if matches!(verb, "validate" | "release" | "rollback") {
                assert_eq!(before, 0, "{verb} cut at {n}");
            }
            insert(&mut next, 2).await.unwrap();
            Lease::complete(next).await.unwrap();
            drop((tx, sqlite));
            all_closed(&path).await;
            if done {
                break;
            }
        }
    }
}

async fn cut<T>(n: usize, verb: impl Future<Output = T>) -> bool {
    cancel_at(n, pin!(verb)).await.is_some()
}

#[tokio::test]
async fn a_temporary_database_goes_with_its_last_user() {
    let sqlite = sqlite();
    let folder = sqlite.path().parent().unwrap().to_owned();
    let mut conn = Lease::acquire(&sqlite).await.unwrap();
    assert_eq!(count(&mut conn).await, 0);
    assert!(folder.exists());
    Lease::complete(conn).await.unwrap();
    drop(sqlite);
    until(PATIENCE, || !folder.exists()).await;
}
