//! 64 tasks use 8 handles, on 2 workers, for two and a half seconds. The task that is served least must get at least
//! 0.9 of what the task gets that is served most.

use std::thread;
use std::time::Duration;

use super::steps::{PATIENCE, Unmet, comes_true, ensure, message};
use crate::contender::Contender;
use crate::contenders::Visitor;
use crate::work::contended::Turn;

const TIME: Duration = Duration::from_millis(2500);
/// The best of so many turns counts, because the load of the machine is not the pool's fault.
const TURNS: usize = 3;
const LEAST: f64 = 0.9;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let mut best = 0.0;
    let mut saw = String::new();
    for _ in 0..TURNS {
        // The turn has a runtime of its own.
        let turn = thread::spawn(|| Turn(TIME).visit::<C>());
        ensure!(comes_true(TIME + PATIENCE, || turn.is_finished()).await, "hangs: a task waits");
        let served = turn.join().map_err(|panic| Unmet::saw(message(panic)))?.map_err(Unmet::saw)?;
        let served = served.ok_or(Unmet::NotOffered)?;
        let ratio = served.least as f64 / served.most as f64;
        if ratio >= LEAST {
            return Ok(());
        }
        if ratio >= best {
            best = ratio;
            saw = format!("{} operations for one task and {} for another: {ratio:.2}", served.least, served.most);
        }
    }
    Err(Unmet::Saw(saw))
}
