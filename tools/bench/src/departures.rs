//! Times tasks that are cancelled in a random order while they wait in the line of a pool, beside tasks that wait for a
//! `Semaphore`, bare or with a deadline as each waiter of a pool has one. A client that hangs up cancels like this.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqscope::Pool;
use reqscope_records::bench::Turns;
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::ready::{LEFT_BY_WAITERS, Ready};
use crate::turns::{each, play};

/// How many tasks wait when the first is cancelled.
const WAITERS: usize = 100_000;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Measures so many rounds, and prints them. Where `deadline` is set, the waits for the `Semaphore` have one.
pub(crate) fn run(rounds: usize, deadline: bool) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let floor = || match deadline {
        true => runtime.block_on(leave_semaphore_in_time()),
        false => runtime.block_on(leave_semaphore()),
    };
    let turns: Turns = play(rounds, floor, || runtime.block_on(leave_pool()));
    println!("{}", serde_json::to_string(&turns)?);
    Ok(())
}

async fn leave_pool() -> f64 {
    let builder = Pool::builder().max_size(1).max_waiters(usize::MAX).acquire_timeout(PATIENCE);
    let pool = Arc::new(builder.build(Ready::<LEFT_BY_WAITERS>));
    let lent = pool.get().await.expect("it is ready");
    let wait = || {
        let pool = Arc::clone(&pool);
        async move { pool.get().await.map(drop) }
    };
    let took = leave(wait).await;
    pool.put(lent);
    took
}

async fn leave_semaphore() -> f64 {
    let permits = Arc::new(Semaphore::new(0));
    leave(|| Arc::clone(&permits).acquire_owned()).await
}

async fn leave_semaphore_in_time() -> f64 {
    let permits = Arc::new(Semaphore::new(0));
    leave(|| timeout(PATIENCE, Arc::clone(&permits).acquire_owned())).await
}

/// Returns how many nanoseconds each task takes from its cancellation to its end.
async fn leave<F: Future<Output: Send> + Send + 'static>(wait: impl Fn() -> F) -> f64 {
    let begun = Arc::new(AtomicUsize::new(0));
    let in_line = |_| {
        let (begun, wait) = (Arc::clone(&begun), wait());
        tokio::spawn(async move {
            // In the same poll as the first of the wait.
            begun.fetch_add(1, Ordering::Relaxed);
            drop(wait.await);
        })
    };
    let mut tasks: Vec<_> = (0..WAITERS).map(in_line).collect();
    while begun.load(Ordering::Relaxed) < WAITERS {
        yield_now().await;
    }
    fastrand::shuffle(&mut tasks);
    each(WAITERS, async || {
        tasks.iter().for_each(|task| task.abort());
        for task in tasks {
            assert!(task.await.is_err(), "nothing was there to be had");
        }
    })
    .await
}
