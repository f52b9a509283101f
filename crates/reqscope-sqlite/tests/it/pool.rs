use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use reqscope::{Exit, Lease, Pool, Resource, Scopes};
use reqscope_sqlite::{ReadOnly, Sqlite, SqliteConn, Transaction};
use reqscope_testkit::until;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::{LIMIT, count, endless, insert, other_process, rows, sqlite, with_table};

/// Returns a pool of this size, and its database as another user sees it.
fn pool(size: usize) -> (Arc<Pool<Sqlite>>, Arc<Sqlite>) {
    let watching = sqlite();
    let pooled = with_table().busy_timeout(Duration::from_millis(200)).build(watching.path());
    (Arc::new(Pool::builder().max_size(size).build(pooled)), watching)
}

/// Cuts a statement while it runs.
async fn cut(conn: &mut SqliteConn) {
    let (begun, has_begun) = oneshot::channel();
    tokio::select! {
        _ = conn.call(endless(begun)) => unreachable!("it never ends"),
        _ = has_begun => {}
    }
}

#[tokio::test]
async fn one_connection_serves_successive_transactions() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&opened);
    let sqlite = Sqlite::builder().on_open(move |db| {
        counter.fetch_add(1, Relaxed);
        db.execute_batch("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)")
    });
    let pool = Arc::new(Pool::new(sqlite.build_temporary().unwrap()));
    let (writing, reading) = (Transaction::new(pool.clone()), ReadOnly::new(pool.clone()));
    let (writing, reading) = (Arc::new(writing), Arc::new(reading));
    for v in 1..=10 {
        for exit in [Exit::Completed, Exit::Failed] {
            let mut open = Lease::acquire(&writing).await.unwrap();
            insert(&mut open, v).await.unwrap();
            Lease::end(open, exit).await.unwrap();
        }
        let mut open = Lease::acquire(&reading).await.unwrap();
        assert_eq!(count(&mut open).await, v);
        Lease::complete(open).await.unwrap();
    }
    assert_eq!(opened.load(Relaxed), 1);
    assert_eq!(pool.status().idle, 1);
}

/// The statement is stopped, and then the slot of its connection is free (L13, L14).
#[tokio::test]
async fn cut_statement_leaks_no_slot() {
    let (pool, _watching) = pool(1);
    let scopes = Scopes::new();
    for _ in 0..5 {
        let scope = scopes.open();
        cut(&mut scope.lazy(&pool).get().await.unwrap()).await;
        drop(scope);
        let mut conn = timeout(LIMIT, pool.get()).await.unwrap().unwrap();
        assert_eq!(count(&mut conn).await, 0);
        pool.put(conn);
    }
    let report = scopes.drain(LIMIT).await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn cut_transaction_is_rolled_back_before_the_next_begins() {
    let (pool, watching) = pool(1);
    let writing = Arc::new(Transaction::new(Arc::clone(&pool)));
    let scopes = Scopes::new();
    for v in 1..=5 {
        let scope = scopes.open();
        let mut open = scope.lazy(&writing).get().await.unwrap();
        insert(&mut open, -v).await.unwrap();
        cut(&mut open).await;
        drop(open);
        drop(scope);

        let mut open = timeout(LIMIT, Lease::acquire(&writing)).await.unwrap().unwrap();
        assert_eq!(count(&mut open).await, v - 1);
        insert(&mut open, v).await.unwrap();
        Lease::complete(open).await.unwrap();
        assert_eq!(rows(&watching).await, v);
    }
}

#[tokio::test]
async fn dropped_transaction_is_rolled_back_and_connection_reused() {
    let (pool, watching) = pool(1);
    let writing = Arc::new(Transaction::new(Arc::clone(&pool)));
    let scope = Scopes::new().open();
    let open = scope.lazy(&writing).get().await;
    insert(&mut open.unwrap(), 1).await.unwrap();
    drop(scope);
    let mut conn = timeout(LIMIT, pool.get()).await.unwrap().unwrap();
    assert_eq!(count(&mut conn).await, 0);
    insert(&mut conn, 2).await.unwrap();
    pool.put(conn);
    assert_eq!(rows(&watching).await, 1);
}

/// The next checkout may come hours later. Until then the open transaction would lock the database.
#[tokio::test]
async fn transaction_left_open_is_rolled_back_on_return_to_pool() {
    let (pool, watching) = pool(1);
    let mut conn = pool.get().await.unwrap();
    conn.call(|db| db.execute_batch("BEGIN IMMEDIATE; INSERT INTO t (v) VALUES (1)")).await.unwrap();
    pool.put(conn);
    let other = other_process(&watching);
    other.busy_timeout(Duration::ZERO).unwrap();
    until(LIMIT, || other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()).await;
    assert_eq!(rows(&watching).await, 0);
}

#[tokio::test]
async fn waiting_writers_hold_no_connection_of_the_pool() {
    let (pool, _watching) = pool(2);
    let writing = Arc::new(Transaction::new(Arc::clone(&pool)));
    let first = Lease::acquire(&writing).await.unwrap();
    let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(Lease::acquire(&writing))).collect();
    for writer in &mut waiting {
        assert!(reqscope_testkit::poll_once(writer.as_mut()).is_pending());
    }
    // The other connection is free for reads.
    let mut conn = timeout(LIMIT, pool.get()).await.unwrap().unwrap();
    assert_eq!(count(&mut conn).await, 0);
    pool.put(conn);
    assert_eq!((pool.status().in_use, pool.status().waiting), (1, 0));

    Lease::complete(first).await.unwrap();
    for writer in waiting {
        Lease::complete(timeout(LIMIT, writer).await.unwrap().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn request_that_waits_for_itself_is_named_in_the_error() {
    let builder = Pool::builder().max_size(1).acquire_timeout(Duration::from_secs(1));
    let pool = Arc::new(builder.build(with_table().build_temporary().unwrap()));
    let writing = Arc::new(Transaction::new(Arc::clone(&pool)));
    let scope = Scopes::new().open();
    let conn = scope.lazy(&pool).get().await.unwrap();
    let error = scope.lazy(&writing).get().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    let own = error.shortage().and_then(|shortage| shortage.own);
    assert!(own.is_some_and(|own| own.file() == file!()), "{error:?}");
    drop(conn);
    scope.close(Exit::Completed).await.unwrap();
}

#[tokio::test]
async fn closed_pool_leaves_no_connection_open() {
    let (pool, watching) = pool(3);
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    for lease in leases {
        pool.put(lease);
    }
    assert_eq!(pool.status().idle, 3);
    let report = pool.close(LIMIT).await;
    assert!(report.is_clean(), "{report:?}");
    let path = watching.path().to_owned();
    drop(watching);
    crate::support::all_closed(&path).await;
}
