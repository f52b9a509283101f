//! Messages name a line of code of the caller, and never one of this crate.
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Lease, Pool, Resource, Scopes};
use reqscope_mysql::{MySqlError, Transaction};

use crate::with_server::support::mysql;

/// The only connection is held, so each message names who holds it. `Transaction::run` was `retry.rs`.
#[tokio::test]
async fn every_holder_in_a_message_is_the_line_of_its_caller() {
    let pool = Pool::builder().max_size(1).acquire_timeout(Duration::from_secs(20)).build(mysql().await);
    let pool = Arc::new(pool);
    let tx = Arc::new(Transaction::new(pool.clone()));
    let holder_is_here = async |what: &str| {
        tokio::time::pause(); // and so the timeout passes at once
        let error = pool.get().await.map(drop).unwrap_err();
        tokio::time::resume();
        let holder = error.shortage().and_then(|shortage| shortage.oldest.clone()).expect("it names the holder");
        assert_eq!(holder.taken_at.file(), file!(), "{what}");
    };
    let pooled = pool.get().await.unwrap();
    holder_is_here("Pool::get").await;
    pool.put(pooled);
    let direct = tx.acquire().await.unwrap();
    holder_is_here("Transaction::acquire").await;
    tx.release(direct, Exit::Completed).await.unwrap();
    let lease = Lease::acquire(&tx).await.unwrap();
    holder_is_here("Lease::acquire").await;
    Lease::complete(lease).await.unwrap();
    let scope = Scopes::new().open();
    let guard = scope.lazy(&tx).get().await.unwrap();
    holder_is_here("Lazy::get").await;
    drop(guard);
    scope.close(Exit::Completed).await.unwrap();
    let work = tx.run(1, async |_open| {
        holder_is_here("Transaction::run").await;
        Ok::<_, MySqlError>(())
    });
    work.await.unwrap();
}
