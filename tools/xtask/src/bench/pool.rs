//! What a pool takes beside tokio's `Semaphore`, in time.

use std::path::Path;

use anyhow::Context;
use reqscope_records::bench::Turns;
use serde::Serialize;

use super::ask;
use crate::findings::Verdict;
use crate::ratio::{Bound, ROUNDS, Ratio};
use crate::spread::Spread;

/// Of get and return, over a `Semaphore` in front of a stack.
const CHECKOUT: f64 = 0.9;

/// Of a task that is cancelled in line, over one that waits for a `Semaphore` with a deadline.
const DEPARTURE: f64 = 2.0;

/// The same over one that waits without a deadline, which needs no timer. The aim is 2.
const BARE_DEPARTURE: f64 = 2.5;

/// Work of a pool, beside the same work of a `Semaphore`.
#[derive(Serialize)]
struct Row {
    work: &'static str,
    over: &'static str,
    ratio: Ratio,
    /// In nanoseconds.
    floor: Spread,
}

impl Row {
    /// Returns `None` if there was no round.
    fn of([work, over]: [&'static str; 2], turns: &Turns, most: f64) -> Option<Row> {
        let ratio = Ratio::of_turns(turns, Bound::AtMost(most))?;
        Some(Row { work, over, ratio, floor: Spread::of_half(turns.floor.iter().copied())? })
    }

    /// Returns the promise, and whether it holds.
    fn promise(&self) -> (String, Verdict) {
        let Row { work, over, ratio: Ratio { rounds, figure, null, must, verdict }, floor } = self;
        let text = format!(
            "{work}, over {over}, {rounds} rounds, median (middle half): {figure:.2} times its time (must: {must}), \
             which is {floor:.0} ns; itself once more {null:.2}, which is the noise"
        );
        (text, *verdict)
    }
}

/// The three figures.
#[derive(Serialize)]
pub(super) struct Pool([Row; 3]);

impl Pool {
    /// Returns `None` if there was no round.
    fn of(checkout: &Turns, departure: &Turns, bare_departure: &Turns) -> Option<Pool> {
        const LEAVE: &str = "One of 100,000 waiting tasks cancelled in random order";
        Some(Pool([
            Row::of(["Pool, get and return", "`Semaphore` and `Mutex<Vec>`"], checkout, CHECKOUT)?,
            Row::of([LEAVE, "`Semaphore` in `timeout`"], departure, DEPARTURE)?,
            Row::of([LEAVE, "`Semaphore`, where no wait has a deadline"], bare_departure, BARE_DEPARTURE)?,
        ]))
    }

    /// Returns the promises, and whether each holds.
    pub(super) fn promises(&self) -> [(String, Verdict); 3] {
        self.0.each_ref().map(Row::promise)
    }
}

/// Runs the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Pool> {
    let rounds = ROUNDS.to_string();
    let turns = |what: &[&str]| -> anyhow::Result<Turns> {
        eprintln!("measuring {} beside a `Semaphore`", what.join(" "));
        ask(program, &[what, &[rounds.as_str()][..]].concat())
    };
    let pool = Pool::of(&turns(&["checkout"])?, &turns(&["departures", "--deadline"])?, &turns(&["departures"])?);
    pool.context("no round was played")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(times: f64) -> Turns {
        let floor = vec![10.0, 1000.0, 20.0];
        Turns { ours: floor.iter().map(|time| times * time).collect(), again: floor.clone(), floor }
    }

    #[test]
    fn each_ratio_has_its_own_bound() {
        let verdicts = |times: [f64; 3]| {
            let [checkout, departure, bare] = times.map(turns);
            let pool = Pool::of(&checkout, &departure, &bare).unwrap();
            pool.promises().map(|(text, verdict)| {
                assert!(!text.contains("  "), "{text}");
                verdict
            })
        };
        let bounds = [CHECKOUT, DEPARTURE, BARE_DEPARTURE];
        assert_eq!(verdicts(bounds), [Verdict::Holds; 3]);
        for broken in 0..bounds.len() {
            let mut times = bounds;
            times[broken] += 0.1;
            let expected = [0, 1, 2].map(|row| if row == broken { Verdict::Broken } else { Verdict::Holds });
            assert_eq!(verdicts(times), expected);
        }
        assert!(Pool::of(&Turns::default(), &turns(1.0), &turns(1.0)).is_none());
    }
}
