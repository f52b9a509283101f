//! One waits for the only object, and is cancelled when it has come but before it has seen it. The next in line must
//! get it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use reqscope_testkit::poll_once;
use tokio::time::sleep;

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, ensure, take, within};
use crate::contender::{Contender, Settings};

/// Long enough for an object to arrive that is given back in a task.
const ARRIVAL: Duration = Duration::from_millis(20);
const ROUNDS: usize = 20;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let pool = Arc::new(C::build(Scripted::new(), &Settings::new(1)).await);
    for _ in 0..ROUNDS {
        let guard = take::<C, _>(&pool, PATIENCE).await?;
        let mut granted = Box::pin(C::get(&pool));
        let mut next: Pin<&mut _> = pin!(C::get(&pool));
        ensure!(poll_once(granted.as_mut()).is_pending(), "2 out of a pool of 1");
        ensure!(poll_once(next.as_mut()).is_pending(), "2 out of a pool of 1");
        C::put(&pool, guard);
        sleep(ARRIVAL).await;
        drop(granted);
        let guard = within(PATIENCE, "the next in line waits", next).await?;
        C::put(&pool, guard.map_err(Unmet::saw)?);
    }
    Ok(())
}
