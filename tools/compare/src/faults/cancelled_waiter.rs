//! Two callers wait for the only handle. It is returned, and before they are polled, one of them is cancelled: the
//! first in some rounds, the last in others, so that it hits the one that was granted the handle, whatever the order.
//! The other one must get it.

use std::sync::Arc;

use reqscope_testkit::poll_once;
use tokio::time::sleep;

use super::scripted::Scripted;
use super::steps::{ARRIVAL, PATIENCE, Unmet, ensure, take, within};
use crate::contender::{Contender, Settings};

const ROUNDS: usize = 20;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let pool = Arc::new(C::build(Scripted::new(), &Settings::new(1)).await);
    for round in 0..ROUNDS {
        let guard = take::<C, _>(&pool, PATIENCE).await?;
        let mut waiters = vec![Box::pin(C::get(&pool)), Box::pin(C::get(&pool))];
        for waiter in &mut waiters {
            ensure!(poll_once(waiter.as_mut()).is_pending(), "2 lent by a pool of 1");
        }
        C::put(&pool, guard);
        sleep(ARRIVAL).await;
        drop(waiters.remove(round % 2));
        let guard = within(PATIENCE, "the other one waits", waiters.remove(0)).await?;
        C::put(&pool, guard.map_err(Unmet::saw)?);
        sleep(ARRIVAL).await;
    }
    Ok(())
}
