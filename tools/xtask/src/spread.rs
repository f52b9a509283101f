use std::fmt;

use serde::Serialize;

/// What several rounds gave: the one in the middle, and how far the others lie from it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Spread { median, least, most })
    }

    /// The same of times on a machine that does other things besides: of those around the median only the nearer half
    /// counts, as one that was interrupted lies anywhere.
    pub(crate) fn of_half(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let quarter = sorted.len() / 4;
        let middle = sorted.get(quarter..sorted.len() - quarter)?;
        Spread::of(middle.iter().copied())
    }

    /// In another unit.
    pub(crate) fn over(self, unit: f64) -> Spread {
        let Spread { median, least, most } = self;
        Spread { median: median / unit, least: least / unit, most: most / unit }
    }
}

/// The median, and the others in brackets; with the precision that is asked for.
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
    fn the_median_is_the_one_in_the_middle_or_between_the_two() {
        assert_eq!(Spread::of([9.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 9.0 }));
        assert_eq!(Spread::of([9.0, 1.0, 2.0, 4.0]), Some(Spread { median: 3.0, least: 1.0, most: 9.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn an_interrupted_one_does_not_widen_the_nearer_half() {
        let values = [2.0, 900.0, 1.0, 3.0, 0.1, 2.5, 1.5];
        assert_eq!(Spread::of_half(values), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of_half([2.0, 1.0]), Spread::of([2.0, 1.0]));
        assert_eq!(Spread::of_half([]), None);
    }

    #[test]
    fn it_is_told_with_what_lies_around_it() {
        let spread = Spread::of([9.0, 1.0, 2.25]).unwrap();
        assert_eq!(format!("{spread:.1}"), "2.2 (1.0-9.0)");
        assert_eq!(format!("{:.0}", spread.over(0.5)), "4 (2-18)");
    }
}
