//! The bounds, and whether they hold. All ratios are of figures of one run.

use std::fmt;

use anyhow::Context;
use serde::Serialize;

use super::work::{Work, Worked};

/// Get and return must take this many times fewer instructions than with these.
const INSTRUCTIONS: [(&str, f64); 3] = [("deadpool", 4.5), ("deadpool-timeouts", 7.0), ("bb8", 3.5)];

/// The contender against which 64 tasks on 8 handles are judged.
const CONTENDER: &str = "deadpool";
const THROUGHPUT: f64 = 1.4;
const P99: f64 = 0.75;
const EVENNESS: f64 = 0.9;

/// How many of the 8 handles must be back when half of the waiters have left.
const BACK: f64 = 8.0;

/// How many handles a storm of 1000 gets must create, and how many gets it must serve.
const CREATED: f64 = 100.0;
const SERVED: f64 = 1000.0;

/// One bound, judged.
#[derive(Debug, Serialize)]
pub(super) struct Must {
    what: &'static str,
    saw: String,
    must: String,
    pub(super) holds: bool,
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
    let ours = work.each.iter().find(|worked| worked.contender.is_ours()).context("ours took no part")?;
    let mut musts = Vec::new();
    for (name, least) in INSTRUCTIONS {
        musts.push(instructions(ours, find(name)?, least));
    }
    musts.extend(contended(ours, find(CONTENDER)?).context("64 tasks on 8 handles were not measured")?);
    musts.push(cancelled(ours).context("half-cancelled waiters were not measured")?);
    musts.push(storm(ours).context("a storm was not measured")?);
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
        holds: ratio >= least,
    }
}

fn contended(ours: &Worked, theirs: &Worked) -> Option<[Must; 3]> {
    let (of_ours, of_theirs, title) = (ours.contended.as_ref()?, theirs.contended.as_ref()?, &theirs.contender.title);
    Some([
        Must {
            what: "64 tasks on 8 handles, throughput",
            saw: format!("{:.2} times that of {title}", of_theirs.ours_per_second),
            must: format!(">= {THROUGHPUT}"),
            holds: of_theirs.ours_per_second.median >= THROUGHPUT,
        },
        Must {
            what: "64 tasks on 8 handles, wait (p99)",
            saw: format!("{:.2} times that of {title}", of_theirs.ours_p99),
            must: format!("<= {P99}"),
            holds: of_theirs.ours_p99.median <= P99,
        },
        Must {
            what: "64 tasks on 8 handles, operations of the task served least, of those of the one served most",
            saw: format!("{:.2}", of_ours.evenness),
            must: format!(">= {EVENNESS}"),
            holds: of_ours.evenness.median >= EVENNESS,
        },
    ])
}

fn cancelled(ours: &Worked) -> Option<Must> {
    let cancelled = ours.cancelled.as_ref()?;
    Some(Must {
        what: "1000 waiters of which half leave",
        saw: format!("{} hung, {} refused, {} handles back", cancelled.hung, cancelled.refused, cancelled.back),
        must: format!("0, 0, {BACK}"),
        holds: cancelled.hung == 0.0 && cancelled.refused == 0.0 && cancelled.back == BACK,
    })
}

fn storm(ours: &Worked) -> Option<Must> {
    let storm = ours.storm.as_ref()?;
    Some(Must {
        what: "1000 gets at once on an empty pool of 100",
        saw: format!("{:.0} created, {:.0} served", storm.created, storm.served),
        must: format!("{CREATED}, {SERVED}"),
        holds: [storm.created.least, storm.created.most] == [CREATED; 2] && storm.served.least == SERVED,
    })
}

#[cfg(test)]
mod tests {
    use reqscope_records::compare::{ContenderInfo, OURS};

    use super::*;
    use crate::compare::work::{Alone, Cancelled, Contended, Noise, Storm};
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
        let alone = || Alone { cost: Cost { instructions, allocations: 0 }, nanos: always(1.0), ratio: always(1.0) };
        Worked {
            contender: contender(name),
            alone: alone(),
            validated: alone(),
            bytes: None,
            contended: Some(Contended {
                per_second: always(1.0),
                ours_per_second: always(THROUGHPUT),
                evenness: always(EVENNESS),
                median: always(1.0),
                p99: always(1.0),
                longest: always(1.0),
                ours_p99: always(P99),
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

    /// Returns figures that meet every bound exactly.
    fn work() -> Work {
        let each = [(OURS, 200), ("deadpool", 900), ("deadpool-timeouts", 1400), ("bb8", 700)];
        Work {
            each: each.map(|(name, instructions)| worked(name, instructions)).into(),
            noise: Noise { nanos: always(1.0), per_second: always(1.0), p99: always(1.0) },
        }
    }

    /// Returns the bounds that do not hold after a change to the figures of reqscope and deadpool.
    fn broken(change: impl FnOnce(&mut Worked, &mut Worked)) -> Vec<&'static str> {
        let mut work = work();
        let [ours, deadpool, ..] = &mut work.each[..] else { panic!("there are four") };
        change(ours, deadpool);
        judge(&work).unwrap().into_iter().filter(|must| !must.holds).map(|must| must.what).collect()
    }

    #[test]
    fn bound_includes_its_own_figure() {
        assert_eq!(judge(&work()).unwrap().len(), 8);
        assert!(broken(|_, _| ()).is_empty());
    }

    #[test]
    fn one_instruction_too_many_breaks_each_ratio() {
        assert_eq!(broken(|ours, _| ours.alone.cost.instructions += 1), ["get and return, instructions"; 3]);
        assert_eq!(broken(|_, deadpool| deadpool.alone.cost.instructions -= 1).len(), 1);
    }

    #[test]
    fn throughput_and_waits_are_judged_by_medians_of_ratios() {
        let change = |spread: &mut Spread, median: f64| spread.median = median;
        let theirs = |deadpool: &mut Worked| deadpool.contended.take().unwrap();
        let slow = broken(|_, deadpool| {
            let mut contended = theirs(deadpool);
            change(&mut contended.ours_per_second, THROUGHPUT - 0.01);
            deadpool.contended = Some(contended);
        });
        assert_eq!(slow, ["64 tasks on 8 handles, throughput"]);
        let late = broken(|_, deadpool| {
            let mut contended = theirs(deadpool);
            change(&mut contended.ours_p99, P99 + 0.01);
            contended.ours_per_second.least = 0.0;
            deadpool.contended = Some(contended);
        });
        assert_eq!(late, ["64 tasks on 8 handles, wait (p99)"]);
    }

    #[test]
    fn one_bad_round_of_a_crowd_breaks_its_bound() {
        assert_eq!(broken(|ours, _| ours.cancelled.as_mut().unwrap().hung = 1.0).len(), 1);
        assert_eq!(broken(|ours, _| ours.cancelled.as_mut().unwrap().back = 7.0).len(), 1);
        assert_eq!(broken(|ours, _| ours.storm.as_mut().unwrap().created.least = 99.0).len(), 1);
        assert_eq!(broken(|ours, _| ours.storm.as_mut().unwrap().created.most = 101.0).len(), 1);
        assert_eq!(broken(|ours, _| ours.storm.as_mut().unwrap().served.least = 999.0).len(), 1);
    }

    #[test]
    fn missing_figure_is_an_error() {
        let mut without = work();
        without.each.pop();
        assert!(judge(&without).is_err(), "bb8 took no part");
        let mut without = work();
        without.each[0].storm = None;
        assert!(judge(&without).is_err(), "a row of ours is missing");
    }
}
