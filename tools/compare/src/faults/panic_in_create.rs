//! Each slot's creation panics once. Then every slot must serve.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::scripted::Scripted;
use super::steps::{Unmet, ensure, take_all};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 4;
/// How long the callers may take to cause all panics.
const LIMIT: Duration = Duration::from_secs(4);
/// How long each caller waits.
const WAIT: Duration = Duration::from_millis(200);

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let slots = C::lends(SLOTS);
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(slots)).await);
    for _ in 0..slots {
        backend.creation.panic();
    }
    let begun = Instant::now();
    while backend.creation.calls() < slots as u64 {
        ensure!(
            begun.elapsed() < LIMIT,
            "after {} panics the pool creates nothing more, for {LIMIT:?}",
            backend.creation.calls()
        );
        let callers: JoinSet<_> = (0..slots)
            .map(|_| {
                let pool = Arc::clone(&pool);
                async move { timeout(WAIT, C::get(&pool)).await.map(|got| got.map(drop)) }
            })
            .collect();
        drain(callers).await;
    }
    take_all::<C, _>(&pool, slots).await.map(drop)
}

/// Waits for all callers, some of which panic on purpose.
async fn drain<T: 'static>(mut callers: JoinSet<T>) {
    while callers.join_next().await.is_some() {}
}
