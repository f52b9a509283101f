//! Get and return, by the only task of a pool.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::task::unconstrained;

use crate::backend::{AT_FOUR_PLACES, AT_ONE_PLACE, Ready, Refused};
use crate::contender::{Contender, Settings};
use crate::contenders::Visitor;

/// Operations between two readings of the clock.
const BATCH: usize = 500;
/// The timeout of contenders that have one. Nothing waits here but for the first handle, which takes seconds under
/// valgrind if its contender creates it on another thread.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(validates: bool) -> Settings {
    Settings { validates, timeout: PATIENCE, ..Settings::new(1) }
}

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
pub(super) async fn filled<C: Contender>(validates: bool) -> Result<C::Pool<Ready<AT_ONE_PLACE>>, Refused> {
    let pool = C::build(Arc::new(Ready::<AT_ONE_PLACE>), &settings(validates)).await;
    repeat::<C>(&pool, 1).await?;
    Ok(pool)
}

pub(super) async fn repeat<C: Contender>(pool: &C::Pool<Ready<AT_ONE_PLACE>>, times: usize) -> Result<(), Refused> {
    for _ in 0..times {
        let guard = C::get(black_box(pool)).await.map_err(Refused::by)?;
        black_box(&guard);
        C::put(pool, guard);
    }
    Ok(())
}

/// Does the same at four places of the program in turn, with a pool of its own. What has one caller is inlined there, and
/// what has several is called, as in a server, whose handlers each have a get of their own.
pub(super) async fn repeat_at_four_places<C: Contender>(times: usize) -> Result<(), Refused> {
    let pool = C::build(Arc::new(Ready::<AT_FOUR_PLACES>), &settings(false)).await;
    for time in 0..times {
        match time % 4 {
            0 => place::<C, 0>(&pool).await?,
            1 => place::<C, 1>(&pool).await?,
            2 => place::<C, 2>(&pool).await?,
            _ => place::<C, 3>(&pool).await?,
        }
    }
    Ok(())
}

/// Each place shows its number, so that the compiler does not merge them.
async fn place<C: Contender, const NUMBER: u8>(pool: &C::Pool<Ready<AT_FOUR_PLACES>>) -> Result<(), Refused> {
    black_box(NUMBER);
    let guard = C::get(black_box(pool)).await.map_err(Refused::by)?;
    black_box(&guard);
    C::put(pool, guard);
    Ok(())
}
