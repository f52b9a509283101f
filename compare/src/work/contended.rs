//! 64 tasks on 8 objects on 2 workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::runtime;
use tokio::task::{JoinSet, yield_now};

use crate::backend::Ready;
use crate::contender::{Contender, Settings};
use crate::contenders::Visitor;

const OBJECTS: usize = 8;
const TASKS: usize = 64;
const WORKERS: usize = 2;

/// How long the contenders get in each round.
pub(crate) struct Round(pub(crate) Duration);

/// What one contender did in one round. Times are in nanoseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    pub(crate) wait_median: u64,
    pub(crate) wait_p99: u64,
    pub(crate) wait_max: u64,
    /// Of the task that was served least, and of the one that was served most.
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Visitor for Round {
    type Output = anyhow::Result<Outcome>;

    fn visit<C: Contender>(self) -> anyhow::Result<Outcome> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        runtime.block_on(contend::<C>(self.0))
    }
}

async fn contend<C: Contender>(time: Duration) -> anyhow::Result<Outcome> {
    let pool = Arc::new(C::build(Arc::new(Ready), &Settings::new(OBJECTS)).await);
    let ended = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let mut tasks: JoinSet<_> =
        (0..TASKS).map(|_| serve_oneself::<C>(Arc::clone(&pool), Arc::clone(&ended))).collect();
    tokio::time::sleep(time).await;
    ended.store(true, Ordering::Relaxed);

    let mut waits = histogram();
    let (mut least, mut most) = (u64::MAX, 0);
    while let Some(of_one) = tasks.join_next().await {
        let of_one = of_one??;
        least = least.min(of_one.len());
        most = most.max(of_one.len());
        waits.add(of_one)?;
    }
    let per_second = waits.len() as f64 / begun.elapsed().as_secs_f64();
    let [wait_median, wait_p99] = [0.5, 0.99].map(|quantile| waits.value_at_quantile(quantile));
    Ok(Outcome { per_second, wait_median, wait_p99, wait_max: waits.max(), least, most })
}

/// Takes an object, lets the others run, as whoever waits for a database does, and gives it back. The waits are the result.
async fn serve_oneself<C: Contender>(
    pool: Arc<C::Pool<Ready>>,
    ended: Arc<AtomicBool>,
) -> anyhow::Result<Histogram<u64>> {
    let mut waits = histogram();
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let guard = C::get(&pool).await?;
        waits.record(u64::try_from(begun.elapsed().as_nanos())?)?;
        yield_now().await;
        C::put(&pool, guard);
    }
    Ok(waits)
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three figures are few enough")
}
