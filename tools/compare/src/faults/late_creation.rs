//! Callers leave while their handles are created: every second one is cancelled, the others run into their timeout, if
//! they have one. Then the creations end. Their handles must be in the pool or dropped, and every slot must serve.

use std::sync::Arc;
use std::time::Duration;

use reqscope_testkit::Outcome;
use tokio::time::sleep;

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, comes_true, ensure, take_all};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 4;
const TIMEOUT: Duration = Duration::from_millis(300);

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let slots = C::lends(SLOTS);
    let settings = Settings { timeout: TIMEOUT, ..Settings::new(slots) };
    let pool = Arc::new(C::build(Arc::clone(&backend), &settings).await);

    backend.creation.close();
    let callers: Vec<_> = (0..slots)
        .map(|_| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { C::get(&pool).await.map(drop) })
        })
        .collect();
    ensure!(comes_true(PATIENCE, || backend.creation.calls() > 0).await, "no creation begins, for {PATIENCE:?}");
    sleep(TIMEOUT / 2).await;
    callers.iter().step_by(2).for_each(|caller| caller.abort());
    sleep(TIMEOUT).await;
    // The callers of contenders without timeouts.
    callers.iter().for_each(|caller| caller.abort());
    for caller in callers {
        let served = caller.await.is_ok_and(|got| got.is_ok());
        ensure!(!served, "a caller is served before anything is created");
    }

    backend.creation.always(Outcome::ok());
    let guards = take_all::<C, _>(&pool, slots).await?;
    let at_most = || backend.alive() <= slots;
    ensure!(comes_true(PATIENCE, at_most).await, "{} handles for {slots} slots", backend.alive());
    drop(guards);
    drop(pool);
    ensure!(comes_true(PATIENCE, || backend.alive() == 0).await, "{} handles are left", backend.alive());
    Ok(())
}
