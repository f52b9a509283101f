//! Two wait for the only object. It comes, and before they have seen it, one of the two is cancelled: the first in some
//! rounds, the last in others, so that it is the one that was granted it whatever the order. The other must get it.

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
            ensure!(poll_once(waiter.as_mut()).is_pending(), "2 out of a pool of 1");
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
