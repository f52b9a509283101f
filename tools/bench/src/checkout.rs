//! Times get and return of a pool, beside a `Semaphore` in front of a stack.
//!
//! Valgrind counts a system call and the reading of a clock as next to nothing, so the instructions alone do not say
//! what a pool costs.

use reqscope_records::bench::Turns;
use tokio::runtime;
use tokio::task::unconstrained;

use crate::turns::{each, play};
use crate::{floors, pool};

/// How often each of them is repeated in a turn.
const TIMES: usize = 500_000;

/// Measures so many rounds, and prints them.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let turn = |operation: fn(usize)| runtime.block_on(unconstrained(each(TIMES, async || operation(TIMES))));
    let turns: Turns = play(rounds, || turn(floors::semaphore::get), || turn(pool::get));
    println!("{}", serde_json::to_string(&turns)?);
    Ok(())
}
