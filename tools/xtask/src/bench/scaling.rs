//! What the second thread costs the first one: scopes of one `Scopes`, opened and dropped on two threads.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use reqscope_records::bench::ScalingRun;
use serde::Serialize;

use super::ask;
use crate::ratio::{Bound, Ratio};
use crate::spread::Spread;

/// The most that the median may be.
const MUST: f64 = 1.3;

/// The time of two threads on one `Scopes` over that of two threads on counters of their own, both in the same round.
#[derive(Serialize)]
pub(super) struct Scaling {
    /// In nanoseconds.
    alone: Spread,
    pub(super) ratio: Ratio,
}

impl Scaling {
    /// Returns `None` if there was no round.
    fn of(run: &ScalingRun) -> Option<Scaling> {
        let alone = Spread::of_half(run.alone.iter().copied())?;
        Some(Scaling { alone, ratio: Ratio::of_turns(&run.turns, Bound::AtMost(MUST))? })
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scaling { alone, ratio: Ratio { rounds, figure, null, must, .. } } = self;
        write!(
            f,
            "Open and drop by two threads on one `Scopes`, over two threads on unrelated counters with as much local work, \
             in {rounds} rounds, median (middle half): {figure:.2} times the time (must: {must}); the counters once \
             more {null:.2}, which is the noise; one thread alone {alone:.0} ns",
        )
    }
}

/// Runs the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Scaling> {
    eprintln!("measuring two threads on one `Scopes`");
    let run: ScalingRun = ask(program, &["scaling"])?;
    Scaling::of(&run).context("no round was played")
}

#[cfg(test)]
mod tests {
    use reqscope_records::bench::Turns;

    use super::*;
    use crate::findings::Verdict;

    #[test]
    fn scopes_are_compared_with_the_counters_of_their_round() {
        let floor = vec![10.0, 1000.0, 10.0, 1000.0];
        let verdict = |times: f64| {
            let ours = floor.iter().map(|time| times * time).collect();
            let turns = Turns { ours, again: floor.clone(), floor: floor.clone() };
            Scaling::of(&ScalingRun { alone: floor.clone(), turns }).unwrap().ratio.verdict
        };
        assert_eq!([1.25, 1.5].map(verdict), [Verdict::Holds, Verdict::Broken]);
    }
}
