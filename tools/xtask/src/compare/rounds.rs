use reqscope_records::compare::Round;
use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// The rounds of one row, as reqscope-compare prints them.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Rounds<T>(Vec<Round<T>>);

impl<T> Rounds<T> {
    /// Returns one figure of one contender, or `None` if it took no part.
    pub(super) fn of(&self, name: &str, figure: impl Fn(&T) -> f64) -> Option<Spread> {
        Spread::of(self.0.iter().filter_map(|round| round.each.get(name)).map(figure))
    }

    /// Returns the ratio of a figure of `this` to that of `that`, both in the same round.
    pub(super) fn ratio(&self, this: &str, that: &str, figure: impl Fn(&T) -> f64) -> Option<Spread> {
        Spread::of(self.ratios(this, that, figure))
    }

    /// Returns the ratio of two turns of one contender in the same round: the difference from 1 is noise.
    pub(super) fn noise(&self, name: &str, figure: impl Fn(&T) -> f64) -> Option<Spread> {
        Spread::of(self.noises(name, figure))
    }

    /// Returns the same for each round, as a judge needs it.
    pub(super) fn series(&self, this: &str, that: &str, figure: impl Fn(&T) -> f64) -> Series {
        Series { figures: self.ratios(this, that, &figure), null: self.noises(this, figure) }
    }

    fn ratios(&self, this: &str, that: &str, figure: impl Fn(&T) -> f64) -> Vec<f64> {
        let ratio = |round: &Round<T>| Some(figure(round.each.get(this)?) / figure(round.each.get(that)?));
        self.0.iter().filter_map(ratio).collect()
    }

    fn noises(&self, name: &str, figure: impl Fn(&T) -> f64) -> Vec<f64> {
        self.0.iter().filter_map(|round| Some(figure(&round.again) / figure(round.each.get(name)?))).collect()
    }
}

/// The ratio of a figure to that of another contender in each round, and that of two turns of the same contender.
#[derive(Serialize)]
pub(super) struct Series {
    pub(super) figures: Vec<f64>,
    pub(super) null: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: &str = r#"[
        {"each": {"ours": 10.0, "theirs": 30.0}, "again": 11.0},
        {"each": {"ours": 100.0, "theirs": 200.0, "late": 1.0}, "again": 100.0},
        {"each": {"ours": 10.0, "theirs": 40.0}, "again": 8.0}
    ]"#;

    #[test]
    fn ratios_are_of_the_same_round_and_not_of_medians() {
        let rounds: Rounds<f64> = serde_json::from_str(ROUNDS).unwrap();
        assert_eq!(rounds.of("ours", |n| *n), Spread::of([10.0, 10.0, 100.0]));
        assert_eq!(rounds.ratio("theirs", "ours", |n| *n), Spread::of([3.0, 2.0, 4.0]));
        assert_eq!(rounds.noise("ours", |n| *n), Spread::of([1.1, 1.0, 0.8]));
        let Series { figures, null } = rounds.series("ours", "late", |n| *n);
        assert_eq!((figures, null), (vec![100.0], vec![1.1, 1.0, 0.8]));
    }

    #[test]
    fn contender_that_took_no_part_has_no_figures() {
        let rounds: Rounds<f64> = serde_json::from_str(ROUNDS).unwrap();
        assert_eq!(rounds.of("unknown", |n| *n), None);
        assert_eq!(rounds.ratio("unknown", "ours", |n| *n), None);
        assert_eq!(rounds.ratio("late", "ours", |n| *n), Spread::of([0.01]));
    }
}
