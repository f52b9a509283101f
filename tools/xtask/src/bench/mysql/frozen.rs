use std::time::Duration;

use reqscope_records::bench::FrozenRun;

use super::super::outage::lag;

const LATE: Duration = Duration::from_millis(50);
const LATE_AT_WORST: Duration = Duration::from_millis(500);

/// Returns the promise that callers of a frozen server have an answer at their deadline, and whether it holds. Each
/// freeze is longer than a deadline, so every caller must have run into one.
pub(super) fn promise(run: &FrozenRun) -> (String, bool) {
    let FrozenRun { callers, connections, freezes, answers, late, .. } = run;
    let deadline = Duration::from_nanos(run.deadline);
    let by = [run.late_p50, run.late_p99, run.late_longest].map(Duration::from_nanos);
    let text = format!(
        "Server frozen {freezes} times, {callers} callers of {connections} connections: {answers} answers, {late} of \
         them at the deadline of {deadline:?}, late by {:.1?} (median), {:.1?} (p99), {:.1?} (longest) (must: p99 <= \
         {LATE:?}, longest <= {LATE_AT_WORST:?}), {}",
        by[0],
        by[1],
        by[2],
        lag([run.lag_p50, run.lag_p99, run.lag_longest]),
    );
    let every_caller = *freezes > 0 && *late >= callers * freezes;
    (text, every_caller && by[1] <= LATE && by[2] <= LATE_AT_WORST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen() -> FrozenRun {
        FrozenRun {
            callers: 64,
            connections: 10,
            freezes: 2,
            deadline: 1_000_000_000,
            answers: 300,
            late: 128,
            late_p50: 3_000_000,
            late_p99: 50_000_000,
            late_longest: 500_000_000,
            lag_p50: 1_100_000,
            lag_p99: 2_000_000,
            lag_longest: 3_000_000,
        }
    }

    #[test]
    fn late_answers_are_bounded() {
        assert!(promise(&frozen()).1);
        assert!(!promise(&FrozenRun { late_p99: 50_000_001, ..frozen() }).1);
        assert!(!promise(&FrozenRun { late_longest: 500_000_001, ..frozen() }).1);
    }

    #[test]
    fn freeze_that_a_caller_did_not_notice_is_not_counted() {
        assert!(!promise(&FrozenRun { late: 127, ..frozen() }).1);
        assert!(!promise(&FrozenRun { freezes: 0, late: 0, ..frozen() }).1);
    }
}
