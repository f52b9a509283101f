//! Get and return, by the only task of a pool.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::task::unconstrained;

use crate::backend::{Ready, Refused};
use crate::contender::{Contender, Settings};
use crate::contenders::Visitor;

/// Operations between two readings of the clock.
const BATCH: usize = 500;

/// Repeats the operation for at least this time, after one batch as warm-up. The result is nanoseconds per operation.
pub(crate) struct Turn {
    pub(crate) validates: bool,
    pub(crate) time: Duration,
}

impl Visitor for Turn {
    type Output = anyhow::Result<f64>;

    fn visit<C: Contender>(self) -> anyhow::Result<f64> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let timing = async {
            let pool = filled::<C>(self.validates).await?;
            repeat::<C>(&pool, BATCH).await?;
            let (begun, mut batches) = (Instant::now(), 0);
            loop {
                repeat::<C>(&pool, BATCH).await?;
                batches += 1;
                let elapsed = begun.elapsed();
                if elapsed >= self.time {
                    return Ok(elapsed.as_nanos() as f64 / (batches * BATCH) as f64);
                }
            }
        };
        runtime.block_on(unconstrained(timing))
    }
}

/// Returns a pool whose only handle is idle.
pub(super) async fn filled<C: Contender>(validates: bool) -> Result<C::Pool<Ready<true>>, Refused> {
    let settings = Settings { validates, ..Settings::new(1) };
    let pool = C::build(Arc::new(Ready::<true>), &settings).await;
    repeat::<C>(&pool, 1).await?;
    Ok(pool)
}

pub(super) async fn repeat<C: Contender>(pool: &C::Pool<Ready<true>>, times: usize) -> Result<(), Refused> {
    for _ in 0..times {
        let guard = C::get(black_box(pool)).await.map_err(Refused::by)?;
        black_box(&guard);
        C::put(pool, guard);
    }
    Ok(())
}
