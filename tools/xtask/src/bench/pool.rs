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

/// Of a task that is cancelled in line, over one that waits for a `Semaphore`.
const DEPARTURE: f64 = 2.0;

/// The two figures.
#[derive(Serialize)]
pub(super) struct Pool {
    checkout: Ratio,
    /// In nanoseconds.
    checkout_floor: Spread,
    departure: Ratio,
    departure_floor: Spread,
}

impl Pool {
    /// Returns `None` if there was no round.
    fn of(checkout: &Turns, departure: &Turns) -> Option<Pool> {
        let floor = |turns: &Turns| Spread::of_half(turns.floor.iter().copied());
        Some(Pool {
            checkout: Ratio::of_turns(checkout, Bound::AtMost(CHECKOUT))?,
            checkout_floor: floor(checkout)?,
            departure: Ratio::of_turns(departure, Bound::AtMost(DEPARTURE))?,
            departure_floor: floor(departure)?,
        })
    }

    /// Returns the promises, and whether each holds.
    pub(super) fn promises(&self) -> [(String, Verdict); 2] {
        let text = |work: &str, Ratio { rounds, figure, null, must, .. }: &Ratio, floor: &Spread| {
            format!(
                "{work}, {rounds} rounds, median (middle half): {figure:.2} times its time (must: {must}), which is \
                 {floor:.0} ns; itself once more {null:.2}, which is the noise"
            )
        };
        let (checkout, departure) = (
            text("Pool, get and return, over `Semaphore` and `Mutex<Vec>`", &self.checkout, &self.checkout_floor),
            text(
                "One of 100,000 waiting tasks cancelled in random order, over `Semaphore`",
                &self.departure,
                &self.departure_floor,
            ),
        );
        [(checkout, self.checkout.verdict), (departure, self.departure.verdict)]
    }
}

/// Runs the rounds.
pub(super) fn measure(program: &Path) -> anyhow::Result<Pool> {
    let rounds = ROUNDS.to_string();
    let turns = |what: &str| -> anyhow::Result<Turns> {
        eprintln!("measuring {what} beside a `Semaphore`");
        ask(program, &[what, &rounds])
    };
    Pool::of(&turns("checkout")?, &turns("departures")?).context("no round was played")
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
        let verdicts = |checkout, departure| {
            let pool = Pool::of(&turns(checkout), &turns(departure)).unwrap();
            pool.promises().map(|(text, verdict)| {
                assert!(!text.contains("  "), "{text}");
                verdict
            })
        };
        assert_eq!(verdicts(CHECKOUT, DEPARTURE), [Verdict::Holds; 2]);
        assert_eq!(verdicts(CHECKOUT + 0.1, DEPARTURE), [Verdict::Broken, Verdict::Holds]);
        assert_eq!(verdicts(CHECKOUT, DEPARTURE + 0.1), [Verdict::Holds, Verdict::Broken]);
        assert!(Pool::of(&Turns::default(), &turns(1.0)).is_none());
    }
}
