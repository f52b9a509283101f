//! A backend that goes down and comes back: the callers of a pool are told at once that it is down, it is left in peace
//! meanwhile, and they are served soon after it is back.
//!
//! These are times, and not counted: a busy machine makes them longer. So a timer's lag is measured beside them, but no
//! bound moves with it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// In microseconds.
const ANSWER: u64 = 1_000;
const DELAY: u64 = 50_000;
/// One restart in so many may be late.
const LATE: usize = 20;

/// What `reqscope-bench outage` has seen. Times are in microseconds.
#[derive(Deserialize, Serialize)]
pub(super) struct Outage {
    /// How many ask the pool all the time, pausing for 10 ms after each answer.
    callers: usize,
    /// How many answers they had to what they asked while the breaker was open and the backend down, and how long those
    /// took.
    answers: usize,
    answer_p50: u64,
    answer_p99: u64,
    /// By how much a timer as long as their pause was late in the same run.
    lag_p50: u64,
    lag_p99: u64,
    /// How often the pool tried to connect in that time, how many steps of 15 ms it had, the shortest time between two
    /// probes, and the most attempts within any one.
    connects: u64,
    steps: u64,
    most_per_step: u64,
    /// For each restart, how long after the first success of a client without a pool, who tries each millisecond, the
    /// first of the callers had an answer of the backend.
    delays: Vec<u64>,
}

impl Outage {
    /// Three, each with whether it holds. One that nothing was seen of does not.
    pub(super) fn promises(&self) -> [(String, bool); 3] {
        [self.answered(), self.left_in_peace(), self.served()]
    }

    fn answered(&self) -> (String, bool) {
        let Outage { callers, answers, .. } = self;
        let [p50, p99, lag_p50, lag_p99] =
            [self.answer_p50, self.answer_p99, self.lag_p50, self.lag_p99].map(milliseconds);
        let text = format!(
            "Backend down, {callers} callers: {answers} answers of the pool in {p50} ms (median) and {p99} ms (p99) \
             (must: p99 < {} ms), timers of the same run late by {lag_p50} ms and {lag_p99} ms",
            milliseconds(ANSWER),
        );
        (text, *answers > 0 && self.answer_p99 < ANSWER)
    }

    fn left_in_peace(&self) -> (String, bool) {
        let Outage { connects, steps, most_per_step, .. } = self;
        let text = format!(
            "Backend down: {connects} connects in {steps} probe steps of 15 ms, at most {most_per_step} within one \
             (must: <= 1)"
        );
        (text, *connects > 0 && connects <= steps && *most_per_step <= 1)
    }

    fn served(&self) -> (String, bool) {
        let restarts = self.delays.len();
        let in_time = self.delays.iter().filter(|delay| **delay <= DELAY).count();
        let must = restarts - restarts / LATE;
        let mut sorted = self.delays.clone();
        sorted.sort_unstable();
        let [median, longest] = [sorted.get(restarts / 2), sorted.last()].map(|delay| delay.copied().unwrap_or(0));
        let text = format!(
            "Backend back: in {in_time} of {restarts} restarts the callers had a good answer within {} ms of the first \
             that a client without a pool had (must: {must}), after {} ms (median) and {} ms (longest)",
            DELAY / 1_000,
            milliseconds(median),
            milliseconds(longest),
        );
        (text, restarts > 0 && in_time >= must)
    }
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{:03}", microseconds / 1_000, microseconds % 1_000)
}

/// Takes the backend away from a pool, and brings it back, twenty times.
pub(super) fn measure(program: &Path) -> anyhow::Result<Outage> {
    eprintln!("measuring outages");
    let output = Command::new(program).arg("outage").stderr(Stdio::inherit()).output().context("reqscope-bench")?;
    if !output.status.success() {
        bail!("reqscope-bench outage ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("what reqscope-bench outage printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage() -> Outage {
        Outage {
            callers: 64,
            answers: 1_000,
            answer_p50: 2,
            answer_p99: 999,
            lag_p50: 1_100,
            lag_p99: 2_000,
            connects: 15,
            steps: 20,
            most_per_step: 1,
            delays: vec![50_000; 20],
        }
    }

    fn holds(outage: &Outage) -> [bool; 3] {
        outage.promises().map(|(_, holds)| holds)
    }

    #[test]
    fn each_promise_is_judged_by_itself() {
        assert_eq!(holds(&outage()), [true; 3]);
        assert_eq!(holds(&Outage { answer_p99: 1_000, ..outage() }), [false, true, true]);
        assert_eq!(holds(&Outage { most_per_step: 2, ..outage() }), [true, false, true]);
        assert_eq!(holds(&Outage { connects: 21, ..outage() }), [true, false, true]);
    }

    #[test]
    fn one_restart_in_twenty_may_be_late() {
        let mut outage = outage();
        outage.delays[3] = 50_001;
        assert_eq!(holds(&outage), [true; 3]);
        outage.delays[4] = 50_001;
        assert_eq!(holds(&outage), [true, true, false]);
    }

    #[test]
    fn what_nothing_was_seen_of_does_not_hold() {
        let nothing = Outage { answers: 0, connects: 0, delays: Vec::new(), ..outage() };
        assert_eq!(holds(&nothing), [false; 3]);
    }
}
