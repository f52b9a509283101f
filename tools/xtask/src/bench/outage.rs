//! A backend that goes down and comes back: the callers of a pool are told at once that it is down, it is left in peace
//! meanwhile, and they are served soon after it is back.
//!
//! These are times, and not counted: a busy machine makes them longer. So a timer's lag is measured beside them, but no
//! bound moves with it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ask;

const ANSWER: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(50);
/// One restart in so many may be late.
const LATE: usize = 20;

/// What `reqscope-bench outage` has seen. Times are in nanoseconds.
#[derive(Deserialize, Serialize)]
pub(super) struct Outage {
    /// How many ask the pool all the time, pausing for 10 ms after each answer.
    callers: usize,
    /// How many answers they had to what they asked while the breaker was open and the backend down, and how long those
    /// took.
    answers: usize,
    answer_p50: u64,
    answer_p99: u64,
    answer_longest: u64,
    /// By how much a timer as long as their pause was late in the same run.
    lag_p50: u64,
    lag_p99: u64,
    lag_longest: u64,
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
        let took = [self.answer_p50, self.answer_p99, self.answer_longest].map(Duration::from_nanos);
        let text = format!(
            "Backend down, {callers} callers: {answers} answers of the pool in {:.1?} (median), {:.1?} (p99), {:.1?} \
             (longest) (must: p99 < {ANSWER:?}), {}",
            took[0],
            took[1],
            took[2],
            self.lag(),
        );
        (text, *answers > 0 && took[1] < ANSWER)
    }

    fn left_in_peace(&self) -> (String, bool) {
        let Outage { connects, steps, most_per_step, .. } = self;
        let text = format!(
            "Backend down: {connects} connects in {steps} probe steps of 15 ms, at most {most_per_step} within one \
             (must: <= 1)"
        );
        (text, *connects > 0 && connects <= steps && *most_per_step <= 1)
    }

    pub(super) fn lag(&self) -> String {
        lag([self.lag_p50, self.lag_p99, self.lag_longest])
    }

    /// Whether they are served soon after it is back.
    pub(super) fn served(&self) -> (String, bool) {
        let mut delays: Vec<Duration> = self.delays.iter().copied().map(Duration::from_nanos).collect();
        delays.sort_unstable();
        let restarts = delays.len();
        let (in_time, must) = (delays.partition_point(|delay| *delay <= DELAY), restarts - restarts / LATE);
        let [median, longest] =
            [delays.get(restarts / 2), delays.last()].map(|delay| delay.copied().unwrap_or_default());
        let text = format!(
            "Backend back: in {in_time} of {restarts} restarts the callers had a good answer within {DELAY:?} of the \
             first that a client without a pool had (must: {must}), after {median:.1?} (median), {longest:.1?} (longest)"
        );
        (text, restarts > 0 && in_time >= must)
    }
}

/// What happened to a timer beside, at the median, the 99th percentile, and at worst.
pub(super) fn lag(of: [u64; 3]) -> String {
    let [median, p99, longest] = of.map(Duration::from_nanos);
    format!("while a timer was late by {median:.1?}, {p99:.1?}, {longest:.1?}")
}

/// Takes the backend away from a pool, and brings it back, twenty times.
pub(super) fn measure(program: &Path) -> anyhow::Result<Outage> {
    eprintln!("measuring outages");
    ask(program, &["outage"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage() -> Outage {
        Outage {
            callers: 64,
            answers: 1_000,
            answer_p50: 400,
            answer_p99: 999_999,
            answer_longest: 5_000_000,
            lag_p50: 1_100_000,
            lag_p99: 2_000_000,
            lag_longest: 3_000_000,
            connects: 15,
            steps: 20,
            most_per_step: 1,
            delays: vec![50_000_000; 20],
        }
    }

    fn holds(outage: &Outage) -> [bool; 3] {
        outage.promises().map(|(_, holds)| holds)
    }

    #[test]
    fn each_promise_is_judged_by_itself() {
        assert_eq!(holds(&outage()), [true; 3]);
        assert_eq!(holds(&Outage { answer_p99: 1_000_000, ..outage() }), [false, true, true]);
        assert_eq!(holds(&Outage { most_per_step: 2, ..outage() }), [true, false, true]);
        assert_eq!(holds(&Outage { connects: 21, ..outage() }), [true, false, true]);
    }

    #[test]
    fn one_restart_in_twenty_may_be_late() {
        let mut outage = outage();
        outage.delays[3] = 50_000_001;
        assert_eq!(holds(&outage), [true; 3]);
        outage.delays[4] = 50_000_001;
        assert_eq!(holds(&outage), [true, true, false]);
    }

    #[test]
    fn what_nothing_was_seen_of_does_not_hold() {
        let nothing = Outage { answers: 0, connects: 0, delays: Vec::new(), ..outage() };
        assert_eq!(holds(&nothing), [false; 3]);
    }
}
