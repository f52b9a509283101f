//! 1000 gets at once on an empty pool of 100 whose handles take a millisecond to create.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqscope_records::compare::StormTurn;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use super::counting::Counting;
use super::waits::{histogram, percentiles, record};
use crate::backend::Refused;
use crate::contender::{Contender, Settings};
use crate::contenders::Visitor;

const GETS: usize = 1000;
const HANDLES: usize = 100;
const CREATION: Duration = Duration::from_millis(1);
/// How long a use takes, as a statement does: long enough that gets wait as long as handles are created.
const USE: Duration = Duration::from_millis(10);
/// A get that is not served by then does not count.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Turn;

impl Visitor for Turn {
    type Output = anyhow::Result<Option<StormTurn>>;

    fn visit<C: Contender>(self) -> anyhow::Result<Option<StormTurn>> {
        if C::lends(HANDLES) < HANDLES {
            return Ok(None);
        }
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let turn = runtime.block_on(measure::<C>());
        // Does not wait for threads that a contender blocks.
        runtime.shutdown_background();
        turn.map(Some)
    }
}

async fn measure<C: Contender>() -> anyhow::Result<StormTurn> {
    let backend = Arc::new(Counting::slow(CREATION));
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(HANDLES)).await);
    let begun = Instant::now();
    let mut tasks: JoinSet<_> = (0..GETS)
        .map(|_| {
            let pool = Arc::clone(&pool);
            async move {
                let guard = C::get(&pool).await.map_err(Refused::by)?;
                let waited = begun.elapsed();
                sleep(USE).await;
                C::put(&pool, guard);
                anyhow::Ok(waited)
            }
        })
        .collect();

    let mut waits = histogram();
    while let Ok(Some(ended)) = timeout_at((begun + PATIENCE).into(), tasks.join_next()).await {
        if let Ok(Ok(waited)) = ended {
            record(&mut waits, waited);
        }
    }
    let took = u64::try_from(begun.elapsed().as_nanos())?;
    Ok(StormTurn { created: backend.created(), served: waits.len(), took, waits: percentiles(&waits) })
}
