//! The pool is dropped while two handles are lent and one is idle. The guards must still work, and after them no handle
//! may be left.

use std::sync::Arc;

use tokio::time::sleep;

use super::scripted::Scripted;
use super::steps::{ARRIVAL, PATIENCE, Unmet, comes_true, ensure, take_all, within};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 3;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let slots = C::lends(SLOTS);
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(slots)).await);
    let mut guards = take_all::<C, _>(&pool, slots).await?;
    if slots > 1 {
        C::put(&pool, guards.remove(0));
        sleep(ARRIVAL).await;
    }
    drop(pool);
    for guard in &mut guards {
        within(PATIENCE, "a guard that outlives its pool", C::id(guard)).await?;
    }
    drop(guards);
    ensure!(comes_true(PATIENCE, || backend.alive() == 0).await, "{} of {slots} handles are left", backend.alive());
    Ok(())
}
