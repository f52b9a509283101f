//! Requests a second over loopback, with the layer and without. Not judged, because these are times.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use reqscope_records::bench::ThroughputRun;
use serde::Serialize;

use super::ask;
use crate::spread::Spread;

/// The throughput of the service without the layer, and the others in per cent of it in the same round.
#[derive(Serialize)]
pub(super) struct Throughput {
    rounds: usize,
    plain: Spread,
    /// The service without the layer once more: the difference from 100 is noise.
    again: Spread,
    unused: Spread,
    used: Spread,
}

impl Throughput {
    /// Returns `None` if there was no round.
    fn of(run: &ThroughputRun) -> Option<Throughput> {
        let per_cent = |of: &[f64]| Spread::of(of.iter().zip(&run.plain).map(|(of, plain)| 100.0 * of / plain));
        Some(Throughput {
            rounds: run.plain.len(),
            plain: Spread::of(run.plain.iter().copied())?,
            again: per_cent(&run.again)?,
            unused: per_cent(&run.unused)?,
            used: per_cent(&run.used)?,
        })
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Throughput { rounds, plain, again, unused, used } = self;
        write!(
            f,
            "Throughput over loopback in {rounds} rounds, median (least-most): a tower service without the layer {plain:.0} \
             requests a second; with it {unused:.1} % of that in the same round, used and released {used:.1} %; without it \
             once more {again:.1} %, which is the noise. Not judged",
        )
    }
}

/// Runs the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Throughput> {
    eprintln!("measuring throughput");
    let run: ThroughputRun = ask(program, &["throughput"])?;
    Throughput::of(&run).context("no round was played")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_is_compared_within_a_round() {
        let (plain, half) = (vec![10.0, 1000.0], vec![5.0, 500.0]);
        let run = ThroughputRun { again: plain.clone(), unused: half.clone(), used: half, plain };
        let compared = Throughput::of(&run).unwrap();
        let Spread { median, least, most } = compared.used;
        assert_eq!((median, least, most), (50.0, 50.0, 50.0));
        assert_eq!(compared.again.median, 100.0);
    }
}
