//! How long each of the 64 tasks on 8 handles waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use quanta::Instant;
use reqscope_records::compare::Waits;
use tokio::task::yield_now;

use super::contended::contend;
use crate::backend::{CONTENDED, Ready, Refused};
use crate::contender::Contender;
use crate::contenders::Visitor;

/// Runs for this time, and reads the clock before and after each wait.
pub(crate) struct Turn(pub(crate) Duration);

impl Visitor for Turn {
    type Output = anyhow::Result<Option<Waits>>;

    fn visit<C: Contender>(self) -> anyhow::Result<Option<Waits>> {
        let Some(of_all) = contend::<C, _, _>(self.0, clock::<C>)? else { return Ok(None) };
        let mut waits = histogram();
        for of_one in of_all {
            waits.add(of_one)?;
        }
        Ok(Some(percentiles(&waits)))
    }
}

pub(super) fn percentiles(waits: &Histogram<u64>) -> Waits {
    let [median, p99] = [0.5, 0.99].map(|quantile| waits.value_at_quantile(quantile));
    Waits { median, p99, longest: waits.max() }
}

/// Repeatedly checks a handle out and returns it. The result is how long each get waited.
async fn clock<C: Contender>(
    pool: Arc<C::Pool<Ready<CONTENDED>>>,
    ended: Arc<AtomicBool>,
) -> Result<Histogram<u64>, Refused> {
    let mut waits = histogram();
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let guard = C::get(&pool).await.map_err(Refused::by)?;
        record(&mut waits, begun.elapsed());
        yield_now().await;
        C::put(&pool, guard);
    }
    Ok(waits)
}

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

pub(super) fn record(waits: &mut Histogram<u64>, wait: Duration) {
    let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    waits.record(nanos).expect("it grows to any `u64`");
}
