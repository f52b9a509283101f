//! 64 tasks on 8 handles on 2 workers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqscope_records::compare::ContendedTurn;
use tokio::runtime;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use crate::backend::{CONTENDED, Ready, Refused};
use crate::contender::{Contender, Settings};
use crate::contenders::Visitor;

const HANDLES: usize = 8;
const TASKS: usize = 64;
const WORKERS: usize = 2;

/// Runs for this time, without reading a clock in the tasks.
pub(crate) struct Turn(pub(crate) Duration);

impl Visitor for Turn {
    type Output = anyhow::Result<Option<ContendedTurn>>;

    fn visit<C: Contender>(self) -> anyhow::Result<Option<ContendedTurn>> {
        let begun = Instant::now();
        let Some(counts) = contend::<C, _, _>(self.0, count::<C>)? else { return Ok(None) };
        let all: u64 = counts.iter().sum();
        let (least, most) = counts.iter().fold((u64::MAX, 0), |(least, most), n| (least.min(*n), most.max(*n)));
        Ok(Some(ContendedTurn { per_second: all as f64 / begun.elapsed().as_secs_f64(), least, most }))
    }
}

/// Repeatedly checks a handle out, lets other tasks run, as a wait for a database does, and returns it. The result is
/// how often.
async fn count<C: Contender>(pool: Arc<C::Pool<Ready<CONTENDED>>>, ended: Arc<AtomicBool>) -> Result<u64, Refused> {
    let mut served = 0;
    while !ended.load(Ordering::Relaxed) {
        let guard = C::get(&pool).await.map_err(Refused::by)?;
        yield_now().await;
        C::put(&pool, guard);
        served += 1;
    }
    Ok(served)
}

/// Runs all tasks until the time is over, and returns their results, or `None` if the contender does not lend so many
/// handles.
pub(super) fn contend<C, F, T>(
    time: Duration,
    task: impl Fn(Arc<C::Pool<Ready<CONTENDED>>>, Arc<AtomicBool>) -> F,
) -> anyhow::Result<Option<Vec<T>>>
where
    C: Contender,
    F: Future<Output = Result<T, Refused>> + Send + 'static,
    T: Send + 'static,
{
    if C::lends(HANDLES) < HANDLES {
        return Ok(None);
    }
    let runtime = runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(async {
        let pool = Arc::new(C::build(Arc::new(Ready::<CONTENDED>), &Settings::new(HANDLES)).await);
        let ended = Arc::new(AtomicBool::new(false));
        let mut tasks: JoinSet<_> = (0..TASKS).map(|_| task(Arc::clone(&pool), Arc::clone(&ended))).collect();
        sleep(time).await;
        ended.store(true, Ordering::Relaxed);
        let mut results = Vec::with_capacity(TASKS);
        while let Some(result) = tasks.join_next().await {
            results.push(result??);
        }
        Ok(Some(results))
    })
}
