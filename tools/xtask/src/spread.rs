use std::fmt;

use serde::Serialize;

/// The results of several rounds: the median, the least and the most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Returns `None` if there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Spread { median, least, most })
    }

    /// Returns the spread of the middle half of the values. For times on a busy machine, where a round that was
    /// interrupted can take any time.
    pub(crate) fn of_half(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let quarter = sorted.len() / 4;
        let middle = sorted.get(quarter..sorted.len() - quarter)?;
        Spread::of(middle.iter().copied())
    }

    /// Converts to another unit.
    pub(crate) fn over(self, unit: f64) -> Spread {
        let Spread { median, least, most } = self;
        Spread { median: median / unit, least: least / unit, most: most / unit }
    }
}

/// The median, and the least and the most in brackets, with the requested precision.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, least, most } = self;
        let digits = f.precision().unwrap_or(2);
        write!(f, "{median:.digits$} ({least:.digits$}-{most:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_value_or_between_the_two() {
        assert_eq!(Spread::of([9.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 9.0 }));
        assert_eq!(Spread::of([9.0, 1.0, 2.0, 4.0]), Some(Spread { median: 3.0, least: 1.0, most: 9.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn interrupted_round_does_not_widen_the_middle_half() {
        let values = [2.0, 900.0, 1.0, 3.0, 0.1, 2.5, 1.5];
        assert_eq!(Spread::of_half(values), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of_half([2.0, 1.0]), Spread::of([2.0, 1.0]));
        assert_eq!(Spread::of_half([]), None);
    }

    #[test]
    fn it_is_printed_with_least_and_most() {
        let spread = Spread::of([9.0, 1.0, 2.25]).unwrap();
        assert_eq!(format!("{spread:.1}"), "2.2 (1.0-9.0)");
        assert_eq!(format!("{:.0}", spread.over(0.5)), "4 (2-18)");
    }
}
