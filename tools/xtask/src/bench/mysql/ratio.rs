use std::fmt;

use anyhow::Context;
use reqscope_records::bench::Turns;
use serde::Serialize;

use crate::spread::Spread;

/// The ratio of our time to the driver's, both in the same round.
#[derive(Serialize)]
pub(super) struct Ratio {
    pub(super) operation: &'static str,
    pub(super) rounds: usize,
    pub(super) ours: Spread,
    /// The driver's second turn, over its first.
    pub(super) noise: Spread,
    /// The driver's time, in nanoseconds.
    pub(super) driver: Spread,
    /// `None` for a figure without a bound.
    pub(super) must: Option<Must>,
    pub(super) holds: bool,
}

/// The most that the median may be.
#[derive(Clone, Copy, Serialize)]
pub(super) enum Must {
    Most(f64),
    /// Or the upper quarter of the noise, if that is more: a smaller difference cannot be distinguished from noise.
    MostOrNoise(f64),
}

impl Must {
    fn holds(self, ours: Spread, noise: Spread) -> bool {
        match self {
            Must::Most(most) => ours.median <= most,
            Must::MostOrNoise(most) => ours.median <= most.max(noise.most),
        }
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Must::Most(most) => write!(f, "<= {most}"),
            Must::MostOrNoise(most) => write!(f, "<= {most}, or within the noise"),
        }
    }
}

/// Compares the turns of each round.
pub(super) fn judge(turns: &Turns, operation: &'static str, must: Option<Must>) -> anyhow::Result<Ratio> {
    let over = |these: &[f64]| Spread::of_half(these.iter().zip(&turns.floor).map(|(this, driver)| this / driver));
    let (ours, noise) = (over(&turns.ours), over(&turns.again));
    let (ours, noise) = (ours.context("no round was played")?, noise.context("no round was played twice")?);
    let driver = Spread::of_half(turns.floor.iter().copied()).context("the driver did not play")?;
    let holds = must.is_none_or(|must| must.holds(ours, noise));
    Ok(Ratio { operation, rounds: turns.floor.len(), ours, noise, driver, must, holds })
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ratio { operation, ours, noise, must, .. } = self;
        write!(f, "{operation}: {ours:.3} of the driver's time, which is {noise:.3} of itself")?;
        must.map_or(Ok(()), |must| write!(f, " (must: {must})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(ours: f64, again: f64) -> Turns {
        let floor = vec![10.0, 1_000.0];
        let times = |ratio: f64| floor.iter().map(|nanos| nanos * ratio).collect();
        Turns { ours: times(ours), again: times(again), floor }
    }

    fn holds(turns: &Turns, must: Must) -> bool {
        judge(turns, "queries", Some(must)).unwrap().holds
    }

    #[test]
    fn median_of_the_ratios_within_rounds_is_judged() {
        assert!(holds(&turns(1.2, 1.0), Must::Most(1.2)));
        assert!(!holds(&turns(1.21, 1.5), Must::Most(1.2)));
    }

    #[test]
    fn noise_raises_the_bound_only_if_it_says_so() {
        assert!(holds(&turns(1.03, 1.0), Must::MostOrNoise(1.03)));
        assert!(!holds(&turns(1.04, 1.0), Must::MostOrNoise(1.03)));
        assert!(holds(&turns(1.04, 1.05), Must::MostOrNoise(1.03)));
    }

    #[test]
    fn ratio_without_rounds_is_an_error() {
        assert!(judge(&Turns::default(), "queries", None).is_err());
    }
}
