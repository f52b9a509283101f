use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::outage::lag;

const LATE: Duration = Duration::from_millis(50);
const LATE_AT_WORST: Duration = Duration::from_millis(500);

/// What `reqscope-bench mysql frozen` has seen. Times are in nanoseconds.
#[derive(Deserialize, Serialize)]
pub(super) struct Frozen {
    /// How many ask all the time, over how many connections at most, and how often the server was frozen meanwhile.
    callers: usize,
    connections: usize,
    freezes: usize,
    /// What each of their questions has, to the pool as well as to the server.
    deadline: u64,
    /// How many answers they had to what they waited for then.
    answers: usize,
    /// How many of those came when the time was over, and by how much.
    late: usize,
    late_p50: u64,
    late_p99: u64,
    late_longest: u64,
    lag_p50: u64,
    lag_p99: u64,
    lag_longest: u64,
}

impl Frozen {
    /// Each freeze is longer than a deadline, so everybody must have run into one.
    pub(super) fn promise(&self) -> (String, bool) {
        let Frozen { callers, connections, freezes, answers, late, .. } = self;
        let deadline = Duration::from_nanos(self.deadline);
        let by = [self.late_p50, self.late_p99, self.late_longest].map(Duration::from_nanos);
        let text = format!(
            "Server frozen {freezes} times, {callers} callers of {connections} connections: {answers} answers, {late} of \
             them at the deadline of {deadline:?}, late by {:.1?} (median), {:.1?} (p99), {:.1?} (longest) (must: p99 <= \
             {LATE:?}, longest <= {LATE_AT_WORST:?}), {}",
            by[0],
            by[1],
            by[2],
            lag([self.lag_p50, self.lag_p99, self.lag_longest]),
        );
        let everybody = *freezes > 0 && *late >= callers * freezes;
        (text, everybody && by[1] <= LATE && by[2] <= LATE_AT_WORST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen() -> Frozen {
        Frozen {
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
    fn everybody_is_answered_and_hardly_anybody_late() {
        assert!(frozen().promise().1);
        assert!(!Frozen { late_p99: 50_000_001, ..frozen() }.promise().1);
        assert!(!Frozen { late_longest: 500_000_001, ..frozen() }.promise().1);
    }

    #[test]
    fn a_freeze_that_somebody_did_not_notice_is_none() {
        assert!(!Frozen { late: 127, ..frozen() }.promise().1);
        assert!(!Frozen { freezes: 0, late: 0, ..frozen() }.promise().1);
    }
}
