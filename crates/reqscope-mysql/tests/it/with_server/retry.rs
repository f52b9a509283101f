//! `Transaction::run` repeats work that lost against another transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use reqscope::{Error, Lease, Pool};
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{Connections, MySql, MySqlConn, MySqlError, Transaction};
use tokio::sync::Barrier;

use crate::with_server::support::{
    bare, code, cut_at_work, doing, insert, next_user_is_served, pool, rows, shared, table,
};

type Pooled = Transaction<Pool<MySql>>;

async fn two_rows(name: &str) {
    table(name).await;
    bare(shared().await)
        .await
        .query_drop(format!("INSERT INTO {name} VALUES (1, 0), (2, 0)"))
        .await
        .expect("two rows");
}

async fn sum(name: &str) -> u64 {
    let sum = bare(shared().await).await.query_first(format!("SELECT SUM(n) FROM {name}")).await;
    sum.expect("an answer").expect("a number")
}

/// Adds one to both rows in this order. In the first attempt, waits in between until the other task has locked its
/// first row.
async fn add(
    tx: Arc<Pooled>,
    statement: String,
    order: [u32; 2],
    both: Arc<Barrier>,
    attempts: Arc<AtomicU32>,
) -> Result<(), MySqlError> {
    let mut is_first = true;
    tx.run(50, async move |open| {
        attempts.fetch_add(1, Relaxed);
        open.exec_drop(&statement, (order[0],)).await?;
        if is_first {
            is_first = false;
            both.wait().await;
        }
        Ok(open.exec_drop(&statement, (order[1],)).await?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deadlocked_transactions_both_succeed_in_the_end() {
    two_rows("both_done").await;
    let tx = Arc::new(Transaction::new(pool(2).await));
    for round in 1..=5 {
        let (both, attempts) = (Arc::new(Barrier::new(2)), Arc::new(AtomicU32::new(0)));
        // The future is `Send`, since it is spawned.
        let adding = [[1, 2], [2, 1]].map(|order| {
            let statement = "UPDATE both_done SET n = n + 1 WHERE id = ?".to_owned();
            tokio::spawn(add(Arc::clone(&tx), statement, order, Arc::clone(&both), Arc::clone(&attempts)))
        });
        for added in adding {
            added.await.unwrap().unwrap();
        }
        assert!(attempts.load(Relaxed) >= 3, "one of them was the victim");
        assert_eq!(sum("both_done").await, round * 4, "each was committed once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_deadlocked_transactions_all_succeed_in_the_end() {
    two_rows("all_done").await;
    let tx = Arc::new(Transaction::new(pool(10).await));
    let attempts = Arc::new(AtomicU32::new(0));
    let adding = (0..10_u32).map(|number| {
        let order = if number % 2 == 0 { [1, 2] } else { [2, 1] };
        let statement = "UPDATE all_done SET n = n + 1 WHERE id = ?".to_owned();
        tokio::spawn(add(Arc::clone(&tx), statement, order, Arc::new(Barrier::new(1)), Arc::clone(&attempts)))
    });
    for added in adding.collect::<Vec<_>>() {
        added.await.unwrap().unwrap();
    }
    assert_eq!(sum("all_done").await, 20);
}

/// Creates transactions whose lock waits time out after one second, the minimum.
async fn impatient() -> Arc<Pooled> {
    let mysql = MySql::builder(&shared().await.url())
        .expect("the server's own URL")
        .setup("SET SESSION innodb_lock_wait_timeout = 1")
        .build();
    Arc::new(Transaction::new(Arc::new(Pool::builder().max_size(1).build(mysql))))
}

#[tokio::test]
async fn lock_wait_timeout_is_retried() {
    two_rows("waited").await;
    let tx = impatient().await;
    let mut holder = bare(shared().await).await;
    holder.query_drop("BEGIN; UPDATE waited SET n = 10 WHERE id = 1").await.unwrap();
    let mut attempts = 0;
    tx.run(2, async |open| {
        attempts += 1;
        insert(open, "waited", 3).await?;
        let outcome = open.query_drop("UPDATE waited SET n = n + 1 WHERE id = 1").await;
        if attempts == 1 {
            let error = MySqlError::from(outcome.expect_err("the row is locked"));
            assert_eq!(code(&error), Some(1205), "{error:?}");
            holder.query_drop("COMMIT").await?;
            return Err(error);
        }
        Ok(outcome?)
    })
    .await
    .unwrap();
    assert_eq!((attempts, sum("waited").await, rows("waited").await), (2, 11, 3));
}

#[tokio::test]
async fn attempts_are_bounded_and_the_last_error_is_returned() {
    two_rows("bounded").await;
    let pool = pool(1).await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let mut holder = bare(shared().await).await;
    holder.query_drop("BEGIN; UPDATE bounded SET n = 10 WHERE id = 1").await.unwrap();
    for most in 0..4 {
        let mut attempts = 0;
        let outcome: Result<(), MySqlError> = tx
            .run(most, async |open| {
                attempts += 1;
                insert(open, "bounded", 3).await?;
                Ok(open.query_drop("SELECT * FROM bounded WHERE id = 1 FOR UPDATE NOWAIT").await?)
            })
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(code(&error), Some(1205), "{error:?}");
        assert_eq!(attempts, most.max(1), "there is always a first attempt");
    }
    assert_eq!(rows("bounded").await, 2, "all attempts were rolled back");
    next_user_is_served(&pool).await;
    assert_eq!(pool.status().created, 1, "and no connection was lost");
}

#[derive(Debug)]
enum AppError {
    Database(MySqlError),
    SoldOut,
}

impl From<MySqlError> for AppError {
    fn from(error: MySqlError) -> Self {
        AppError::Database(error)
    }
}

impl From<Error<MySqlError>> for AppError {
    fn from(error: Error<MySqlError>) -> Self {
        AppError::Database(error.into())
    }
}

impl std::fmt::Display for AppError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no order")
    }
}

impl std::error::Error for AppError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AppError::Database(error) => Some(error),
            AppError::SoldOut => None,
        }
    }
}

#[tokio::test]
async fn other_errors_are_returned_at_once_and_rolled_back() {
    table("at_once").await;
    let tx = Arc::new(Transaction::new(pool(1).await));
    for sold_out in [true, false] {
        let mut attempts = 0;
        let outcome: Result<(), AppError> = tx
            .run(5, async |open| {
                attempts += 1;
                insert(open, "at_once", 1).await.map_err(MySqlError::from)?;
                if sold_out {
                    return Err(AppError::SoldOut);
                }
                Ok(insert(open, "at_once", 1).await.map_err(MySqlError::from)?)
            })
            .await;
        match outcome.unwrap_err() {
            AppError::SoldOut => assert!(sold_out),
            AppError::Database(error) => assert_eq!(code(&error), Some(1062), "{error:?}"),
        }
        assert_eq!(attempts, 1);
    }
    next_user_is_served(tx.get_ref()).await;
    assert_eq!(rows("at_once").await, 0);
}

#[tokio::test]
async fn dropped_run_is_rolled_back_and_stopped() {
    table("run_dropped").await;
    let mut eye = bare(shared().await).await;
    let pool = pool(1).await;
    let tx = Arc::new(Transaction::new(Arc::clone(&pool)));
    let id = next_user_is_served(&pool).await;
    let work = tx.run(5, async |open| {
        insert(open, "run_dropped", 1).await?;
        open.query_drop("DO SLEEP(10)").await?;
        Ok::<_, MySqlError>(())
    });
    cut_at_work(&mut eye, id, "SLEEP(10)", work).await;
    assert_ne!(next_user_is_served(&pool).await, id);
    assert_eq!(doing(&mut eye, id).await, None);
    assert_eq!(rows("run_dropped").await, 0);
}

#[tokio::test]
async fn work_that_ends_its_own_transaction_fails() {
    table("run_ended").await;
    let tx = Arc::new(Transaction::new(pool(1).await));
    let mut attempts = 0;
    let outcome: Result<(), MySqlError> = tx
        .run(5, async |open| {
            attempts += 1;
            Ok(open.query_drop("COMMIT").await?)
        })
        .await;
    let MySqlError::Resource(error) = outcome.unwrap_err() else { panic!("an error of the release") };
    assert!(matches!(error.cause(), Some(MySqlError::NotOpen)), "{error:?}");
    assert_eq!(attempts, 1);
}

/// Accepts a handler like a front end does: any function of the request's data whose future is `Send`.
fn route<A, F>(handler: impl Fn(A) -> F + Send + Sync + 'static) -> impl Fn(A) -> F
where
    F: Future<Output = Result<u64, AppError>> + Send + 'static,
{
    handler
}

async fn order(tx: Arc<Pooled>) -> Result<u64, AppError> {
    let item = String::from("an owned item");
    tx.run(3, async move |open| {
        insert(open, "routed", 1).await.map_err(MySqlError::from)?;
        Ok(item.len() as u64)
    })
    .await
}

/// Same as `order`, but generic over the connections.
async fn order_over<P>(tx: Arc<Transaction<P>>) -> Result<u64, AppError>
where
    P: Connections<Connection = MySqlConn>,
{
    tx.run(3, async |open| Ok(open.query_first("SELECT 7").await.map_err(MySqlError::from)?.unwrap_or_default()))
        .await
}

#[tokio::test]
async fn handler_with_a_run_can_be_routed_and_spawned() {
    table("routed").await;
    let tx = Arc::new(Transaction::new(pool(1).await));
    let handler = route(order);
    assert_eq!(tokio::spawn(handler(Arc::clone(&tx))).await.unwrap().unwrap(), 13);
    assert_eq!(rows("routed").await, 1);
    let handler = route(order_over::<Pool<MySql>>);
    assert_eq!(tokio::spawn(handler(Arc::clone(&tx))).await.unwrap().unwrap(), 7);
    Lease::complete(Lease::acquire(&tx).await.unwrap()).await.unwrap();
}
