//! What must hold, and whether it does. All ratios are of figures of one run.

use std::fmt;

use anyhow::Context;
use serde::Serialize;

use super::work::{Work, Worked};

/// Get and return must take so many times fewer instructions than with these.
const INSTRUCTIONS: [(&str, f64); 3] = [("deadpool", 4.5), ("deadpool-timeouts", 7.0), ("bb8", 3.5)];

/// 64 tasks on 8 objects, against this one.
const CONTENDER: &str = "deadpool";
const THROUGHPUT: f64 = 1.4;
const P99: f64 = 0.75;
const EVENNESS: f64 = 0.9;

/// Of the 8 objects that half-cancelled waiters wait for.
const BACK: f64 = 8.0;

/// What a storm of 1000 gets may create, and how many it must serve.
const CREATED: f64 = 100.0;
const SERVED: f64 = 1000.0;

/// One of them, judged.
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

/// Judges ours.
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
    musts.extend(contended(ours, find(CONTENDER)?).context("64 tasks on 8 objects were not measured")?);
    musts.extend(cancelled(ours));
    musts.extend(storm(ours));
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
            what: "64 tasks on 8 objects, throughput",
            saw: format!("{:.2} times that of {title}", of_theirs.ours_per_second),
            must: format!(">= {THROUGHPUT}"),
            holds: of_theirs.ours_per_second.median >= THROUGHPUT,
        },
        Must {
            what: "64 tasks on 8 objects, wait (p99)",
            saw: format!("{:.2} times that of {title}", of_theirs.ours_p99),
            must: format!("<= {P99}"),
            holds: of_theirs.ours_p99.median <= P99,
        },
        Must {
            what: "64 tasks on 8 objects, operations of the task served least, of those of the one served most",
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
        saw: format!("{} hung, {} refused, {} objects back", cancelled.hung, cancelled.refused, cancelled.back),
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
