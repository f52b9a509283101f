//! A backend that goes down and comes back: the callers of a pool fail at once while it is down, few of them connect,
//! and they are served soon after it is back.
//!
//! These are times, which are longer on a busy machine. So the lag of a timer is measured beside them, but no bound
//! moves with it.

use std::path::Path;
use std::time::Duration;

use reqscope_records::bench::OutageRun;

use super::ask;

const ANSWER: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(50);
/// One restart in this many may be late.
const LATE: usize = 20;

/// Returns the three promises, and whether each holds. A promise without observations does not hold.
pub(super) fn promises(run: &OutageRun) -> [(String, bool); 3] {
    [answered(run), few_connects(run), served(run)]
}

fn answered(run: &OutageRun) -> (String, bool) {
    let OutageRun { callers, answers, .. } = run;
    let took = [run.answer_p50, run.answer_p99, run.answer_longest].map(Duration::from_nanos);
    let text = format!(
        "Backend down, {callers} callers: {answers} answers of the pool in {:.1?} (median), {:.1?} (p99), {:.1?} \
         (longest) (must: p99 < {ANSWER:?}), {}",
        took[0],
        took[1],
        took[2],
        timer_lag(run),
    );
    (text, *answers > 0 && took[1] < ANSWER)
}

fn few_connects(run: &OutageRun) -> (String, bool) {
    let OutageRun { connects, steps, most_per_step, .. } = run;
    let text = format!(
        "Backend down: {connects} connects in {steps} probe steps of 15 ms, at most {most_per_step} within one (must: <= 1)"
    );
    (text, *connects > 0 && connects <= steps && *most_per_step <= 1)
}

/// Returns the promise that callers are served soon after the backend is back, and whether it holds.
pub(super) fn served(run: &OutageRun) -> (String, bool) {
    let mut delays: Vec<Duration> = run.delays.iter().copied().map(Duration::from_nanos).collect();
    delays.sort_unstable();
    let restarts = delays.len();
    let (in_time, must) = (delays.partition_point(|delay| *delay <= DELAY), restarts - restarts / LATE);
    let [median, longest] = [delays.get(restarts / 2), delays.last()].map(|delay| delay.copied().unwrap_or_default());
    let text = format!(
        "Backend back: in {in_time} of {restarts} restarts the callers had a good answer within {DELAY:?} of the \
         first that a client without a pool had (must: {must}), after {median:.1?} (median), {longest:.1?} (longest)"
    );
    (text, restarts > 0 && in_time >= must)
}

pub(super) fn timer_lag(run: &OutageRun) -> String {
    lag([run.lag_p50, run.lag_p99, run.lag_longest])
}

/// Returns the lag of a timer as text: the median, the 99th percentile and the longest.
pub(super) fn lag(of: [u64; 3]) -> String {
    let [median, p99, longest] = of.map(Duration::from_nanos);
    format!("while a timer was late by {median:.1?}, {p99:.1?}, {longest:.1?}")
}

/// Stops and restarts the backend of a pool, twenty times.
pub(super) fn measure(program: &Path) -> anyhow::Result<OutageRun> {
    eprintln!("measuring outages");
    ask(program, &["outage"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage() -> OutageRun {
        OutageRun {
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

    fn holds(run: &OutageRun) -> [bool; 3] {
        promises(run).map(|(_, holds)| holds)
    }

    #[test]
    fn promises_are_judged_one_by_one() {
        assert_eq!(holds(&outage()), [true; 3]);
        assert_eq!(holds(&OutageRun { answer_p99: 1_000_000, ..outage() }), [false, true, true]);
        assert_eq!(holds(&OutageRun { most_per_step: 2, ..outage() }), [true, false, true]);
        assert_eq!(holds(&OutageRun { connects: 21, ..outage() }), [true, false, true]);
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
    fn promise_without_observations_does_not_hold() {
        let nothing = OutageRun { answers: 0, connects: 0, delays: Vec::new(), ..outage() };
        assert_eq!(holds(&nothing), [false; 3]);
    }
}
