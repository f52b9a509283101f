//! What the work costs each contender.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use anyhow::Context;
use reqscope_records::compare::{CancelledTurn, ContendedTurn, ContenderInfo, OURS, StormTurn, Waits};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::program::Program;
use super::rounds::{Rounds, Series};
use crate::ratio::ROUNDS;
use crate::spread::Spread;
use crate::valgrind::{Cost, Valgrind};

/// How many idle handles are left in one run; the other run leaves twice as many. One contender has a thread for each
/// handle, and valgrind limits threads.
const LEFT: u64 = 200;

/// The contender against which our times are judged.
pub(super) const CONTENDER: &str = "deadpool";

/// The same with its timeouts: each of its waits has a deadline, as each of ours has.
pub(super) const WITH_TIMEOUTS: &str = "deadpool-timeouts";

/// The figures of all contenders.
#[derive(Serialize)]
pub(super) struct Work {
    pub(super) each: Vec<Worked>,
    pub(super) noise: Noise,
    pub(super) judged: Judged,
}

/// The ratios of our figures to those of a contender, from rounds of these two alone.
#[derive(Serialize)]
pub(super) struct Judged {
    pub(super) crowd: Crowd,
    pub(super) crowd_with_timeouts: Crowd,
    /// Of the time until the last of 1000 gets has ended.
    pub(super) storm: Series,
}

/// The ratios for 64 tasks on 8 handles.
#[derive(Serialize)]
pub(super) struct Crowd {
    /// Of operations a second.
    pub(super) throughput: Series,
    /// Of the 99th percentile of the waits.
    pub(super) p99: Series,
}

/// The ratio of two turns of reqscope in each round.
#[derive(Serialize)]
pub(super) struct Noise {
    pub(super) nanos: Spread,
    pub(super) per_second: Spread,
    pub(super) p99: Spread,
}

/// The figures of one contender.
#[derive(Serialize)]
pub(super) struct Worked {
    pub(super) contender: ContenderInfo,
    pub(super) alone: Alone,
    /// Get and return at four places of the program in turn.
    pub(super) places: Cost,
    pub(super) validated: Alone,
    /// This and the rest are `None` if it does not lend so many handles.
    pub(super) bytes: Option<u64>,
    pub(super) contended: Option<Contended>,
    pub(super) cancelled: Option<Cancelled>,
    pub(super) storm: Option<Storm>,
}

/// Get and return by one task.
#[derive(Serialize)]
pub(super) struct Alone {
    pub(super) cost: Cost,
    pub(super) nanos: Spread,
    /// The ratio of its time to ours.
    pub(super) ratio: Spread,
}

/// 64 tasks on 8 handles. Waits are in nanoseconds, ratios are of the same round.
#[derive(Serialize)]
pub(super) struct Contended {
    pub(super) per_second: Spread,
    /// The ratio of our throughput to its own.
    pub(super) ours_per_second: Spread,
    /// The operations of the task that was served least, over those of the one that was served most.
    pub(super) evenness: Spread,
    pub(super) median: Spread,
    pub(super) p99: Spread,
    pub(super) longest: Spread,
    /// The ratio of our 99th percentile to its own.
    pub(super) ours_p99: Spread,
}

/// 1000 waiters, of which every second one leaves. Each figure is the worst of all rounds.
#[derive(Serialize)]
pub(super) struct Cancelled {
    pub(super) hung: f64,
    pub(super) refused: f64,
    pub(super) back: f64,
    pub(super) nanos: Spread,
}

/// 1000 gets at once on an empty pool.
#[derive(Serialize)]
pub(super) struct Storm {
    pub(super) created: Spread,
    pub(super) served: Spread,
    pub(super) nanos: Spread,
    pub(super) p99: Spread,
}

/// Everything that is measured in rounds.
struct Timed {
    alone: Rounds<f64>,
    validated: Rounds<f64>,
    served: Rounds<ContendedTurn>,
    waits: Rounds<Waits>,
    left: Rounds<CancelledTurn>,
    weathered: Rounds<StormTurn>,
}

impl Timed {
    fn measure(program: &Program) -> anyhow::Result<Timed> {
        Ok(Timed {
            // In one second two tasks may differ by a tenth by chance. Waits depend on what else the machine does, so
            // those rounds are many and short. What is judged has rounds of its own.
            alone: rounds(program, "uncontended --rounds 15 --time 20")?,
            validated: rounds(program, "uncontended --validates --rounds 15 --time 20")?,
            served: rounds(program, "contended --rounds 3 --time 1500")?,
            waits: rounds(program, "waits --rounds 9 --time 150")?,
            left: rounds(program, "cancelled --rounds 7")?,
            weathered: rounds(program, "storm --rounds 5")?,
        })
    }
}

impl Judged {
    fn measure(program: &Program) -> anyhow::Result<Judged> {
        // A turn of a storm ends with its last get.
        let weathered: Rounds<StormTurn> = pair(program, "storm", CONTENDER, 0)?;
        Ok(Judged {
            crowd: Crowd::measure(program, CONTENDER)?,
            crowd_with_timeouts: Crowd::measure(program, WITH_TIMEOUTS)?,
            storm: weathered.series(OURS, CONTENDER, |weathered| weathered.took as f64),
        })
    }
}

impl Crowd {
    fn measure(program: &Program, contender: &str) -> anyhow::Result<Crowd> {
        let served: Rounds<ContendedTurn> = pair(program, "contended", contender, 600)?;
        let waits: Rounds<Waits> = pair(program, "waits", contender, 200)?;
        Ok(Crowd {
            throughput: served.series(OURS, contender, |served| served.per_second),
            p99: waits.series(OURS, contender, |waits| waits.p99 as f64),
        })
    }
}

/// Runs as many rounds of us and the contender as a bound on a time needs, with turns of so many milliseconds.
fn pair<T: DeserializeOwned>(program: &Program, work: &str, contender: &str, time: u64) -> anyhow::Result<Rounds<T>> {
    rounds(program, &format!("{work} {OURS} {contender} --rounds {ROUNDS} --time {time}"))
}

fn rounds<T: DeserializeOwned>(program: &Program, words: &str) -> anyhow::Result<Rounds<T>> {
    eprintln!("measuring {words}");
    program.ask(&words.split(' ').collect::<Vec<_>>())
}

/// The counts of valgrind, by the operation and the name.
type Counted = BTreeMap<(&'static str, String), Cost>;

/// Measures everything.
pub(super) fn measure(program: &Program, valgrind: &Valgrind, contenders: &[ContenderInfo]) -> anyhow::Result<Work> {
    let timed = Timed::measure(program)?;
    let judged = Judged::measure(program)?;
    let operations = ["get", "places", "validated"];
    let counted =
        count(contenders, &operations, |operation, name| valgrind.cost(program.path(), &["run", operation, name]))?;
    let bounded = |contender: &&ContenderInfo| timed.weathered.of(&contender.name, |_| 0.0).is_some();
    let bounded: Vec<ContenderInfo> = contenders.iter().filter(bounded).cloned().collect();
    let left = count(&bounded, &["leave"], |operation, name| {
        valgrind.left(program.path(), &["run", operation, name], LEFT)
    })?;
    let each = contenders.iter().map(|contender| worked(contender, &timed, &counted, &left)).collect::<Option<_>>();
    let noise = noise(&timed).context("ours took no part")?;
    Ok(Work { each: each.context("a contender was not measured")?, noise, judged })
}

/// Counts each operation of each contender, two at a time, which does not change counts.
pub(super) fn count<T: Send>(
    contenders: &[ContenderInfo],
    operations: &[&'static str],
    count: impl Fn(&'static str, &str) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<BTreeMap<(&'static str, String), T>> {
    let names = contenders.iter().map(|contender| contender.name.clone());
    let all: Vec<_> =
        names.flat_map(|name| operations.iter().map(move |operation| (*operation, name.clone()))).collect();
    let ahead = Mutex::new(all.into_iter());
    let work = || {
        let next = || ahead.lock().expect("no thread panics while it holds the lock").next();
        std::iter::from_fn(next)
            .map(|(operation, name)| Ok((count(operation, &name)?, operation, name)))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    let (here, there) = thread::scope(|scope| {
        let there = scope.spawn(work);
        (work(), there.join())
    });
    let both = here?.into_iter().chain(there.expect("it does not panic")?);
    Ok(both.map(|(counted, operation, name)| ((operation, name), counted)).collect())
}

fn worked(
    contender: &ContenderInfo,
    timed: &Timed,
    counted: &Counted,
    left: &BTreeMap<(&'static str, String), u64>,
) -> Option<Worked> {
    let name = contender.name.as_str();
    let alone = |operation: &'static str, rounds: &Rounds<f64>| {
        Some(Alone {
            cost: *counted.get(&(operation, name.to_owned()))?,
            nanos: rounds.of(name, |nanos| *nanos)?,
            ratio: rounds.ratio(name, OURS, |nanos| *nanos)?,
        })
    };
    Some(Worked {
        contender: contender.clone(),
        alone: alone("get", &timed.alone)?,
        places: *counted.get(&("places", name.to_owned()))?,
        validated: alone("validated", &timed.validated)?,
        bytes: left.get(&("leave", name.to_owned())).copied(),
        contended: contended(name, timed),
        cancelled: cancelled(name, timed),
        storm: storm(name, timed),
    })
}

fn contended(name: &str, Timed { served, waits, .. }: &Timed) -> Option<Contended> {
    Some(Contended {
        per_second: served.of(name, |served| served.per_second)?,
        ours_per_second: served.ratio(OURS, name, |served| served.per_second)?,
        evenness: served.of(name, |served| served.least as f64 / served.most as f64)?,
        median: waits.of(name, |waits| waits.median as f64)?,
        p99: waits.of(name, |waits| waits.p99 as f64)?,
        longest: waits.of(name, |waits| waits.longest as f64)?,
        ours_p99: waits.ratio(OURS, name, |waits| waits.p99 as f64)?,
    })
}

fn cancelled(name: &str, Timed { left, .. }: &Timed) -> Option<Cancelled> {
    Some(Cancelled {
        hung: left.of(name, |left| left.hung as f64)?.most,
        refused: left.of(name, |left| left.refused as f64)?.most,
        back: left.of(name, |left| left.back as f64)?.least,
        nanos: left.of(name, |left| left.took as f64)?,
    })
}

fn storm(name: &str, Timed { weathered, .. }: &Timed) -> Option<Storm> {
    Some(Storm {
        created: weathered.of(name, |weathered| weathered.created as f64)?,
        served: weathered.of(name, |weathered| weathered.served as f64)?,
        nanos: weathered.of(name, |weathered| weathered.took as f64)?,
        p99: weathered.of(name, |weathered| weathered.waits.p99 as f64)?,
    })
}

fn noise(timed: &Timed) -> Option<Noise> {
    Some(Noise {
        nanos: timed.alone.noise(OURS, |nanos| *nanos)?,
        per_second: timed.served.noise(OURS, |served| served.per_second)?,
        p99: timed.waits.noise(OURS, |waits| waits.p99 as f64)?,
    })
}
