//! Contenders that have their turns one after the other in each round, so that what else the machine does meets them
//! all.

use std::future::Future;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Builder;

/// What each of so many operations took.
pub(super) fn each(took: Duration, operations: u32) -> f64 {
    took.as_secs_f64() * 1e9 / f64::from(operations)
}

/// How long it took.
pub(super) async fn timed(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

/// Prints what this comes to. It runs where a server's handlers do: on a worker thread, with another beside it.
pub(super) fn play<T: Serialize + Send + 'static>(
    rounds: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seen = runtime.block_on(async { tokio::spawn(rounds).await })??;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}
