//! How long a use takes if many tasks share the one handle of their request.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use reqscope_records::bench::CrowdRun;
use serde::Serialize;

use super::ask;
use crate::ratio::{Bound, Ratio};

/// A queue of tasks is a mutex with a fair queue, an error that names the holder, and a deadline for each waiter.
const MUST: f64 = 3.0;

/// The time of a use, as a multiple of the time of tokio's `Mutex` in the same round.
#[derive(Serialize)]
pub(super) struct Crowd {
    tasks: u64,
    pub(super) ratio: Ratio,
}

impl Crowd {
    /// Returns `None` if there was no round.
    fn of(run: &CrowdRun) -> Option<Crowd> {
        Some(Crowd { tasks: run.tasks, ratio: Ratio::of_turns(&run.turns, Bound::AtMost(MUST))? })
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Crowd { tasks, ratio: Ratio { rounds, figure, null, must, .. } } = self;
        write!(
            f,
            "{tasks} tasks that share one handle, {rounds} rounds, median (middle half): a use takes {figure:.1} times as \
             long as one of tokio's `Mutex` in the same round (must: {must}); the `Mutex` once more {null:.2}, which is \
             the noise"
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
    use reqscope_records::bench::Turns;

    use super::*;
    use crate::findings::Verdict;

    fn run(times: f64) -> CrowdRun {
        let floor = vec![10.0, 1000.0, 20.0];
        let ours = floor.iter().map(|mutex| times * mutex).collect();
        CrowdRun { tasks: 2, uses: 2, turns: Turns { ours, again: floor.clone(), floor } }
    }

    #[test]
    fn crowd_is_judged_by_the_ratio_within_a_round() {
        assert_eq!(Crowd::of(&run(2.9)).unwrap().ratio.verdict, Verdict::Holds);
        assert_eq!(Crowd::of(&run(3.1)).unwrap().ratio.verdict, Verdict::Broken);
        assert!(Crowd::of(&CrowdRun::default()).is_none());
    }
}
