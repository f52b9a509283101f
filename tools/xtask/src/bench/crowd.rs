//! How long a use takes if many tasks share the one handle of their request.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use reqscope_records::bench::CrowdRun;
use serde::Serialize;

use super::ask;
use crate::spread::Spread;

/// A queue of tasks is a mutex with a fair queue, an error that names the holder, and a deadline for each waiter.
const MUST: f64 = 3.0;

/// The time of a use, as a multiple of the time of tokio's `Mutex` in the same round.
#[derive(Serialize)]
pub(super) struct Crowd {
    tasks: u64,
    rounds: usize,
    lazy: Spread,
    /// The `Mutex` once more: the difference from 1 is noise.
    again: Spread,
    must: f64,
    pub(super) holds: bool,
}

impl Crowd {
    /// Returns `None` if there was no round.
    fn of(run: &CrowdRun) -> Option<Crowd> {
        let ratio = |of: &[f64]| Spread::of_half(of.iter().zip(&run.mutex).map(|(of, mutex)| of / mutex));
        let lazy = ratio(&run.lazy)?;
        let (tasks, rounds) = (run.tasks, run.mutex.len());
        Some(Crowd { tasks, rounds, lazy, again: ratio(&run.again)?, must: MUST, holds: lazy.median <= MUST })
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Crowd { tasks, rounds, lazy, again, must, .. } = self;
        write!(
            f,
            "{tasks} tasks that share one handle, {rounds} rounds, median (middle half): a use takes {lazy:.1} times as \
             long as one of tokio's `Mutex` in the same round (must: <= {must:.1}); the `Mutex` once more {again:.2}, \
             which is the noise"
        )
    }
}

/// Runs the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Crowd> {
    eprintln!("measuring tasks that share one handle");
    let run: CrowdRun = ask(program, &["crowd"])?;
    Crowd::of(&run).context("no round was played")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(times: f64) -> CrowdRun {
        let mutex = vec![10.0, 1000.0, 20.0];
        let lazy = mutex.iter().map(|mutex| times * mutex).collect();
        CrowdRun { tasks: 2, uses: 2, lazy, again: mutex.clone(), mutex }
    }

    #[test]
    fn crowd_is_judged_by_the_ratio_within_a_round() {
        assert!(Crowd::of(&run(2.9)).unwrap().holds);
        let slow = Crowd::of(&run(3.1)).unwrap();
        assert_eq!((slow.holds, slow.again.median), (false, 1.0));
        assert!(Crowd::of(&CrowdRun::default()).is_none());
    }
}
