//! A creation takes 100 ms. 20 callers come, one every 30 ms, and wait for 60 ms each. A pool that cancels a creation
//! with its caller serves none of them, while the backend works all the same. At least half of the callers must be
//! served.

use std::sync::Arc;
use std::time::Duration;

use reqscope_testkit::Outcome;
use tokio::time::{sleep, timeout};

use super::scripted::Scripted;
use super::steps::{Unmet, ensure};
use crate::contender::{Contender, Settings};

const CREATION: Duration = Duration::from_millis(100);
const BUDGET: Duration = Duration::from_millis(60);
const PAUSE: Duration = Duration::from_millis(30);
const CALLERS: usize = 20;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    backend.creation.always(Outcome::ok().after(CREATION));
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(C::lends(4))).await);
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let pool = Arc::clone(&pool);
        callers.push(tokio::spawn(async move {
            let got = timeout(BUDGET, C::get(&pool)).await;
            got.is_ok_and(|got| got.map(|guard| C::put(&pool, guard)).is_ok())
        }));
        sleep(PAUSE).await;
    }
    let mut served = 0;
    for caller in callers {
        served += usize::from(caller.await.map_err(Unmet::saw)?);
    }
    let begun = backend.creation.calls();
    ensure!(served >= CALLERS / 2, "{served} of {CALLERS} are served, with {begun} creations begun");
    Ok(())
}
