//! What the second thread costs the first one: scopes of one `Scopes`, opened and dropped on two threads.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use reqscope_records::bench::ScalingRun;
use serde::Serialize;

use super::ask;
use crate::spread::Spread;

/// The most that the median may be.
const MUST: f64 = 1.3;

/// The time of two threads on one `Scopes` over that of two threads on counters of their own, both in the same round.
#[derive(Serialize)]
pub(super) struct Scaling {
    rounds: usize,
    /// In nanoseconds.
    alone: Spread,
    scopes: Spread,
    /// The counters once more: the difference from 1 is noise.
    noise: Spread,
    must: f64,
    pub(super) holds: bool,
}

impl Scaling {
    /// Returns `None` if there was no round.
    fn of(run: &ScalingRun) -> Option<Scaling> {
        let over = |these: &[f64]| Spread::of_half(these.iter().zip(&run.counters).map(|(this, floor)| this / floor));
        let (scopes, noise) = (over(&run.scopes)?, over(&run.again)?);
        let alone = Spread::of_half(run.alone.iter().copied())?;
        Some(Scaling { rounds: run.counters.len(), alone, scopes, noise, must: MUST, holds: scopes.median <= MUST })
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scaling { rounds, alone, scopes, noise, must, .. } = self;
        write!(
            f,
            "Open and drop by two threads on one `Scopes`, over two threads on unrelated counters with as much local work, \
             in {rounds} rounds, median (middle half): {scopes:.2} times the time (must: <= {must}); the counters once \
             more {noise:.2}, which is the noise; one thread alone {alone:.0} ns",
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
    use super::*;

    #[test]
    fn scopes_are_compared_with_the_counters_of_their_round() {
        let counters = vec![10.0, 1000.0, 10.0, 1000.0];
        let slower = |by: f64| counters.iter().map(|time| by * time).collect();
        let run = |by| ScalingRun {
            alone: counters.clone(),
            scopes: slower(by),
            again: counters.clone(),
            counters: counters.clone(),
        };
        let scaling = Scaling::of(&run(1.25)).unwrap();
        assert_eq!((scaling.scopes.median, scaling.noise.median, scaling.holds), (1.25, 1.0, true));
        assert!(!Scaling::of(&run(1.5)).unwrap().holds);
    }
}
