//! A bound on a time: the ratio to something else in the same round, and whether the noise of the run lets it be judged.
//!
//! Times depend on the machine, so contenders take turns in each round, and one of them has two turns: the null row,
//! whose ratio would be 1 on a quiet machine. Of 25 rounds, the median of a ratio is within its middle half in 98 of 100
//! runs. So the figure is judged if it is on the same side of its bound when the whole middle half of the null row is
//! applied to it. Otherwise the run cannot tell, which is not a pass.

use std::fmt;

use reqscope_records::bench::Turns;
use serde::Serialize;

use crate::findings::Verdict;
use crate::spread::Spread;

/// How many rounds a bound on a time needs.
pub(crate) const ROUNDS: usize = 25;

/// What the median must be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn includes(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::AtMost(most) => write!(f, "<= {most}"),
            Bound::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

/// The ratio of two figures of the same round, judged. Each spread is that of the middle half of the rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) rounds: usize,
    pub(crate) figure: Spread,
    /// The ratio of two turns of one contender.
    pub(crate) null: Spread,
    pub(crate) must: Bound,
    pub(crate) verdict: Verdict,
}

impl Ratio {
    /// Judges the ratios of the rounds. Returns `None` if there was no round.
    pub(crate) fn of(figures: &[f64], null: &[f64], must: Bound) -> Option<Ratio> {
        let middle = |of: &[f64]| Spread::of_half(of.iter().copied());
        let (rounds, figure, null) = (figures.len(), middle(figures)?, middle(null)?);
        let with_noise = [null.least.min(1.0), null.most.max(1.0)].map(|noise| must.includes(figure.median * noise));
        let verdict = match with_noise {
            [true, true] => Verdict::Holds,
            [false, false] => Verdict::Broken,
            _ => Verdict::NotJudged,
        };
        Some(Ratio { rounds, figure, null, must, verdict })
    }

    /// Judges our figure over that of the floor. Returns `None` if there was no round.
    pub(crate) fn of_turns(turns: &Turns, must: Bound) -> Option<Ratio> {
        let over = |these: &[f64]| -> Vec<f64> {
            these.iter().zip(&turns.floor).map(|(this, floor)| this / floor).collect()
        };
        Ratio::of(&over(&turns.ours), &over(&turns.again), must)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(figure: f64, null: [f64; 4], must: Bound) -> Verdict {
        Ratio::of(&[figure; 4], &null, must).unwrap().verdict
    }

    const QUIET: [f64; 4] = [1.0; 4];
    /// Its middle half is from 0.9 to 1.1.
    const NOISY: [f64; 4] = [0.2, 0.9, 1.1, 5.0];

    #[test]
    fn bound_includes_its_own_figure() {
        assert_eq!(verdict(1.2, QUIET, Bound::AtMost(1.2)), Verdict::Holds);
        assert_eq!(verdict(1.21, QUIET, Bound::AtMost(1.2)), Verdict::Broken);
        assert_eq!(verdict(1.2, QUIET, Bound::AtLeast(1.2)), Verdict::Holds);
        assert_eq!(verdict(1.19, QUIET, Bound::AtLeast(1.2)), Verdict::Broken);
    }

    #[test]
    fn figure_that_noise_could_move_over_its_bound_is_not_judged() {
        for near in [0.95, 1.0, 1.05] {
            assert_eq!(verdict(near, NOISY, Bound::AtMost(1.0)), Verdict::NotJudged);
            assert_eq!(verdict(near, NOISY, Bound::AtLeast(1.0)), Verdict::NotJudged);
        }
        assert_eq!(verdict(0.9, NOISY, Bound::AtMost(1.0)), Verdict::Holds);
        assert_eq!(verdict(1.12, NOISY, Bound::AtMost(1.0)), Verdict::Broken);
        assert_eq!(verdict(1.12, NOISY, Bound::AtLeast(1.0)), Verdict::Holds);
        assert_eq!(verdict(0.9, NOISY, Bound::AtLeast(1.0)), Verdict::Broken);
    }

    #[test]
    fn null_row_that_strays_to_one_side_is_no_correction() {
        assert_eq!(verdict(1.2, [1.1; 4], Bound::AtMost(1.3)), Verdict::NotJudged);
        assert_eq!(verdict(1.4, [0.9; 4], Bound::AtMost(1.3)), Verdict::NotJudged);
    }

    #[test]
    fn turns_are_compared_with_the_floor_of_their_round() {
        let floor = vec![10.0, 1_000.0, 10.0, 1_000.0];
        let ours = floor.iter().map(|time| time * 0.5).collect();
        let ratio = Ratio::of_turns(&Turns { ours, again: floor.clone(), floor }, Bound::AtMost(0.9)).unwrap();
        assert_eq!((ratio.figure.median, ratio.null.median, ratio.verdict), (0.5, 1.0, Verdict::Holds));
        assert!(Ratio::of_turns(&Turns::default(), Bound::AtMost(0.9)).is_none());
    }
}
