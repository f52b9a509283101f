//! 1000 gets at once on an empty pool of 100 whose objects take a millisecond to make.

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
const OBJECTS: usize = 100;
const CREATION: Duration = Duration::from_millis(1);
/// What a statement takes. So they want more than there is for as long as objects are being made.
const USE: Duration = Duration::from_millis(10);
/// Who is not served by then is not served.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Turn;

impl Visitor for Turn {
    type Output = anyhow::Result<Option<StormTurn>>;

    fn visit<C: Contender>(self) -> anyhow::Result<Option<StormTurn>> {
        if C::lends(OBJECTS) < OBJECTS {
            return Ok(None);
        }
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let weathered = runtime.block_on(weather::<C>());
        // A thread that somebody blocks is not waited for.
        runtime.shutdown_background();
        weathered.map(Some)
    }
}

async fn weather<C: Contender>() -> anyhow::Result<StormTurn> {
    let backend = Arc::new(Counting::slow(CREATION));
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(OBJECTS)).await);
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
