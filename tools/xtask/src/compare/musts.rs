//! The bounds, and whether they hold. All ratios are of figures of one run.

use std::fmt;

use anyhow::Context;
use reqscope_records::compare::OURS;
use serde::Serialize;

use super::rounds::Series;
use super::work::{CONTENDER, Judged, WITH_TIMEOUTS, Work, Worked};
use crate::findings::Verdict;
use crate::ratio::{Bound, Ratio};

/// Get and return must take this many times fewer instructions than with these. Each get of ours reads the clock and
/// counts against tokio's budget, which is 80 of them.
const INSTRUCTIONS: [(&str, f64); 3] = [("deadpool", 3.0), ("deadpool-timeouts", 4.4), ("bb8", 2.5)];

/// Our throughput with 64 tasks on 8 handles, over that of a contender.
const THROUGHPUT: Bound = Bound::AtLeast(1.3);
/// The 99th percentile of the waits.
const P99: Bound = Bound::AtMost(0.9);
/// The time of a storm of 1000 gets on an empty pool.
const STORM: Bound = Bound::AtMost(1.1);

const EVENNESS: f64 = 0.9;

/// How many of the 8 handles must be back when half of the waiters have left.
const BACK: f64 = 8.0;

/// How many handles a storm must create, and how many gets it must serve.
const CREATED: f64 = 100.0;
const SERVED: f64 = 1000.0;

/// One bound, judged.
#[derive(Debug, Serialize)]
pub(super) struct Must {
    what: &'static str,
    saw: String,
    must: String,
    pub(super) verdict: Verdict,
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Must { what, saw, must, .. } = self;
        write!(f, "{what}: {saw} (must: {must})")
    }
}

/// Judges the figures of reqscope.
pub(super) fn judge(work: &Work) -> anyhow::Result<Vec<Must>> {
    let find = |name: &str| {
        let found = work.each.iter().find(|worked| worked.contender.name == name);
        found.with_context(|| format!("{name} took no part"))
    };
    let ours = find(OURS)?;
    let mut musts = Vec::new();
    for (name, least) in INSTRUCTIONS {
        musts.push(instructions(ours, find(name)?, least));
    }
    let Judged { crowd, crowd_with_timeouts, storm: weathered } = &work.judged;
    for (crowd, contender) in [(crowd_with_timeouts, WITH_TIMEOUTS), (crowd, CONTENDER)] {
        musts.push(time("64 tasks on 8 handles, throughput", contender, &crowd.throughput, THROUGHPUT)?);
        musts.push(time("64 tasks on 8 handles, wait (p99)", contender, &crowd.p99, P99)?);
    }
    musts.push(evenness(ours).context("64 tasks on 8 handles were not measured")?);
    musts.push(cancelled(ours).context("half-cancelled waiters were not measured")?);
    musts.push(storm(ours).context("a storm was not measured")?);
    musts.push(time("1000 gets at once on an empty pool of 100, time", CONTENDER, weathered, STORM)?);
    Ok(musts)
}

fn instructions(ours: &Worked, theirs: &Worked, least: f64) -> Must {
    let ratio = theirs.alone.cost.instructions as f64 / ours.alone.cost.instructions as f64;
    Must {
        what: "get and return, instructions",
        saw: format!(
            "{} takes {ratio:.2} times ours, and {:.2} times our time",
            theirs.contender.title, theirs.alone.ratio
        ),
        must: format!(">= {least}"),
        verdict: (ratio >= least).into(),
    }
}

/// Judges a figure that is a time, or a number of operations in a time.
fn time(what: &'static str, contender: &str, Series { figures, null }: &Series, must: Bound) -> anyhow::Result<Must> {
    let ratio = Ratio::of(figures, null, must).with_context(|| format!("{what}: no round was played"))?;
    let Ratio { rounds, figure, null, must, verdict } = ratio;
    Ok(Must {
        what,
        saw: format!(
            "{figure:.2} times that of {contender}, the middle half of {rounds} rounds; ours once more {null:.2}, which \
             is the noise"
        ),
        must: must.to_string(),
        verdict,
    })
}

fn evenness(ours: &Worked) -> Option<Must> {
    let evenness = ours.contended.as_ref()?.evenness;
    Some(Must {
        what: "64 tasks on 8 handles, operations of the task served least, of those of the one served most",
        saw: format!("{evenness:.2}"),
        must: format!(">= {EVENNESS}"),
        verdict: (evenness.median >= EVENNESS).into(),
    })
}

fn cancelled(ours: &Worked) -> Option<Must> {
    let cancelled = ours.cancelled.as_ref()?;
    Some(Must {
        what: "1000 waiters of which half leave",
        saw: format!("{} hung, {} refused, {} handles back", cancelled.hung, cancelled.refused, cancelled.back),
        must: format!("0, 0, {BACK}"),
        verdict: (cancelled.hung == 0.0 && cancelled.refused == 0.0 && cancelled.back == BACK).into(),
    })
}

fn storm(ours: &Worked) -> Option<Must> {
    let storm = ours.storm.as_ref()?;
    let holds = [storm.created.least, storm.created.most] == [CREATED; 2] && storm.served.least == SERVED;
    Some(Must {
        what: "1000 gets at once on an empty pool of 100",
        saw: format!("{:.0} created, {:.0} served", storm.created, storm.served),
        must: format!("{CREATED}, {SERVED}"),
        verdict: holds.into(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use reqscope_records::compare::ContenderInfo;

    use super::*;
    use crate::compare::work::{Alone, Cancelled, Contended, Crowd, Noise, Storm};
    use crate::spread::Spread;
    use crate::valgrind::Cost;

    fn always(value: f64) -> Spread {
        Spread { median: value, least: value, most: value }
    }

    fn contender(name: &str) -> ContenderInfo {
        let (name, version) = (name.to_owned(), Some("1.2.3".to_owned()));
        ContenderInfo { title: name.clone(), package: Some(name.clone()), name, version }
    }

    /// Returns figures that meet every bound, with so many instructions.
    fn worked(name: &str, instructions: u64) -> Worked {
        let cost = Cost { instructions, allocations: 0 };
        let alone = || Alone { cost, nanos: always(1.0), ratio: always(1.0) };
        Worked {
            contender: contender(name),
            alone: alone(),
            places: cost,
            validated: alone(),
            bytes: None,
            contended: Some(Contended {
                per_second: always(1.0),
                ours_per_second: always(1.0),
                evenness: always(EVENNESS),
                median: always(1.0),
                p99: always(1.0),
                longest: always(1.0),
                ours_p99: always(1.0),
            }),
            cancelled: Some(Cancelled { hung: 0.0, refused: 0.0, back: BACK, nanos: always(1.0) }),
            storm: Some(Storm {
                created: always(CREATED),
                served: always(SERVED),
                nanos: always(1.0),
                p99: always(1.0),
            }),
        }
    }

    /// Returns a series whose every ratio meets the bound exactly, without noise.
    fn series((Bound::AtMost(figure) | Bound::AtLeast(figure)): Bound) -> Series {
        Series { figures: vec![figure; 3], null: vec![1.0; 3] }
    }

    /// Returns figures that meet every bound exactly.
    pub(in crate::compare) fn work() -> Work {
        let each = [(OURS, 200), ("deadpool", 600), ("deadpool-timeouts", 880), ("bb8", 500)];
        Work {
            each: each.map(|(name, instructions)| worked(name, instructions)).into(),
            noise: Noise { nanos: always(1.0), per_second: always(1.0), p99: always(1.0) },
            judged: Judged {
                crowd: Crowd { throughput: series(THROUGHPUT), p99: series(P99) },
                crowd_with_timeouts: Crowd { throughput: series(THROUGHPUT), p99: series(P99) },
                storm: series(STORM),
            },
        }
    }

    /// Returns the bounds that are not met after a change to the figures.
    fn unmet(change: impl FnOnce(&mut Work)) -> Vec<(&'static str, Verdict)> {
        let mut work = work();
        change(&mut work);
        let unmet = judge(&work).unwrap().into_iter().filter(|must| must.verdict != Verdict::Holds);
        unmet.map(|must| (must.what, must.verdict)).collect()
    }

    #[test]
    fn bound_includes_its_own_figure() {
        assert_eq!(judge(&work()).unwrap().len(), 11);
        assert!(unmet(|_| ()).is_empty());
    }

    #[test]
    fn one_instruction_too_many_breaks_each_ratio() {
        let each = unmet(|work| work.each[0].alone.cost.instructions += 1);
        assert_eq!(each, [("get and return, instructions", Verdict::Broken); 3]);
        assert_eq!(unmet(|work| work.each[1].alone.cost.instructions -= 1).len(), 1);
    }

    #[test]
    fn another_contender_of_our_package_is_not_judged() {
        assert!(
            unmet(|work| {
                work.each.insert(
                    0,
                    Worked {
                        contender: ContenderInfo { name: "bare".into(), ..contender(OURS) },
                        ..worked(OURS, 900)
                    },
                );
            })
            .is_empty()
        );
    }

    #[test]
    fn times_are_judged_by_the_median_and_the_null_row() {
        let slow = unmet(|work| work.judged.crowd_with_timeouts.throughput.figures = vec![1.0, 1.29, 9.0]);
        assert_eq!(slow, [("64 tasks on 8 handles, throughput", Verdict::Broken)]);
        let late = unmet(|work| work.judged.crowd_with_timeouts.p99.figures = vec![0.1, 0.91, 1.0]);
        assert_eq!(late, [("64 tasks on 8 handles, wait (p99)", Verdict::Broken)]);
        let noisy = unmet(|work| work.judged.storm.null = vec![0.9, 1.0, 1.1]);
        assert_eq!(noisy, [("1000 gets at once on an empty pool of 100, time", Verdict::NotJudged)]);
    }

    #[test]
    fn one_bad_round_of_a_crowd_breaks_its_bound() {
        assert_eq!(unmet(|work| work.each[0].cancelled.as_mut().unwrap().hung = 1.0).len(), 1);
        assert_eq!(unmet(|work| work.each[0].cancelled.as_mut().unwrap().back = 7.0).len(), 1);
        assert_eq!(unmet(|work| work.each[0].storm.as_mut().unwrap().created.least = 99.0).len(), 1);
        assert_eq!(unmet(|work| work.each[0].storm.as_mut().unwrap().created.most = 101.0).len(), 1);
        assert_eq!(unmet(|work| work.each[0].storm.as_mut().unwrap().served.least = 999.0).len(), 1);
    }

    #[test]
    fn missing_figure_is_an_error() {
        let mut without = work();
        without.each.pop();
        assert!(judge(&without).is_err(), "bb8 took no part");
        let mut without = work();
        without.each[0].storm = None;
        assert!(judge(&without).is_err(), "a row of ours is missing");
        let mut without = work();
        without.judged.crowd.p99.figures.clear();
        assert!(judge(&without).is_err(), "no round was played");
    }
}
