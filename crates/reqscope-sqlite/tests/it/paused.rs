//! A paused clock stands still while the thread of a connection works, and advances when nothing does.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Lease, Pool, Scopes};
use reqscope_sqlite::Transaction;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{count, insert, with_table};

const HOUR: Duration = Duration::from_secs(3600);

/// The fault: the first `get` failed at once, after the whole timeout of a creation.
#[tokio::test(start_paused = true)]
async fn request_on_a_paused_clock_takes_no_time() {
    let began = Instant::now();
    let pool = Arc::new(Pool::new(with_table().build_temporary().unwrap()));
    let writing = Arc::new(Transaction::new(Arc::clone(&pool)));
    let scopes = Scopes::new();
    let scope = scopes.open();
    insert(&mut scope.lazy(&writing).get().await.unwrap(), 1).await.unwrap();
    scope.close(Exit::Completed).await.unwrap();
    let mut conn = Lease::acquire(&pool).await.unwrap();
    assert_eq!(count(&mut conn).await, 1);
    Lease::complete(conn).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn paused_clock_advances_when_no_thread_works() {
    let pool = Arc::new(Pool::new(with_table().build_temporary().unwrap()));
    let conn = Lease::acquire(&pool).await.unwrap();
    let began = Instant::now();
    sleep(HOUR).await;
    assert_eq!(began.elapsed(), HOUR);
    Lease::complete(conn).await.unwrap();
}

/// A test's own deadline is not passed by the work of a thread, however long that takes.
#[tokio::test(start_paused = true)]
async fn slow_statement_passes_no_timeout_of_a_paused_clock() {
    let pool = Arc::new(Pool::new(with_table().build_temporary().unwrap()));
    let mut conn = Lease::acquire(&pool).await.unwrap();
    let slow = conn.call(|_db| {
        std::thread::sleep(Duration::from_millis(50));
        Ok(7)
    });
    assert_eq!(timeout(Duration::from_millis(1), slow).await.unwrap().unwrap(), 7);
    Lease::complete(conn).await.unwrap();
}
