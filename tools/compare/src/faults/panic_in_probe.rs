//! The probe of a handle, which every pool runs at return or check-out, panics as many times as there are slots. Then
//! every slot must serve.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, comes_true, ensure, fill, take_all};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 4;
/// How long the users may take to cause all panics.
const LIMIT: Duration = Duration::from_secs(2);
/// How long each user waits.
const WAIT: Duration = Duration::from_millis(200);

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let slots = C::lends(SLOTS);
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(slots)).await);
    fill::<C, _>(&pool, slots).await?;
    if backend.probes() == 0 {
        fill::<C, _>(&pool, slots).await?;
    }
    if !comes_true(PATIENCE, || backend.probes() > 0).await {
        return Err(Unmet::NotOffered);
    }

    backend.panic_at_probes(slots);
    let begun = Instant::now();
    while backend.panics_left() > 0 {
        let met = slots - backend.panics_left();
        ensure!(begun.elapsed() < LIMIT, "after {met} panics no user is served, for {LIMIT:?}");
        // In tasks, because a pool may or may not pass the panic on to the user.
        let mut users: JoinSet<_> = (0..slots)
            .map(|_| {
                let pool = Arc::clone(&pool);
                async move {
                    let got = timeout(WAIT, C::get(&pool)).await;
                    got.is_ok_and(|got| got.map(|guard| C::put(&pool, guard)).is_ok())
                }
            })
            .collect();
        while users.join_next().await.is_some() {}
    }
    take_all::<C, _>(&pool, slots).await?;
    let at_most = || backend.alive() <= slots;
    ensure!(comes_true(PATIENCE, at_most).await, "{} handles for {slots} slots", backend.alive());
    Ok(())
}
