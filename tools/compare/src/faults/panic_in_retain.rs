//! A predicate over the idle handles rejects the first one and panics at the second. Then every slot must serve.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, comes_true, ensure, fill, take_all};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 4;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let slots = C::lends(SLOTS);
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(slots)).await);
    fill::<C, _>(&pool, slots).await?;

    let mut seen = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        C::retain(&pool, |_| {
            seen += 1;
            if seen == 2 {
                panic!("a predicate that panics");
            }
            seen > 2
        })
    }));
    // A pool may or may not pass the panic on to the caller.
    if let Ok(offered) = outcome {
        offered?;
    }
    ensure!(seen >= 2, "the predicate was asked {seen} times, of {slots} idle handles");

    let guards = take_all::<C, _>(&pool, slots).await?;
    let at_most = || backend.alive() <= slots;
    ensure!(comes_true(PATIENCE, at_most).await, "{} handles for {slots} slots", backend.alive());
    drop(guards);
    Ok(())
}
