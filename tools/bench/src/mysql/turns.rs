//! Turns of contenders, one after the other in each round, so that the load of the machine affects all of them.

use std::future::Future;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Builder;

/// Returns the time of one operation, in nanoseconds.
pub(super) fn each(took: Duration, operations: u32) -> f64 {
    took.as_secs_f64() * 1e9 / f64::from(operations)
}

/// Returns how long the work took.
pub(super) async fn timed(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

/// Runs the rounds on a worker thread, as a server's handlers run, with another worker beside it, and prints the
/// result.
pub(super) fn print_on_worker<T: Serialize + Send + 'static>(
    rounds: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seen = runtime.block_on(async { tokio::spawn(rounds).await })??;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}
