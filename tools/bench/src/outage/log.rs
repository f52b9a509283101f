//! What the callers report, and the figures that follow from it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqscope_records::bench::OutageRun;

use super::CALLERS;

/// The shortest time between two probes of a pool.
const STEP: Duration = Duration::from_millis(15);

/// The time from when the breaker was seen open until the backend was restarted.
pub(crate) struct Outage {
    pub(super) open: Instant,
    pub(super) back: Instant,
}

impl Outage {
    fn contains(&self, moment: Instant) -> bool {
        self.open <= moment && moment < self.back
    }
}

/// What the callers reported. Each list is in order, because the time is read under its lock.
#[derive(Default)]
pub(crate) struct Log {
    /// When a caller asked the pool, and how long the answer took; in the order of the answers.
    answers: Mutex<Vec<(Instant, Duration)>>,
    /// When a caller had an answer of the backend.
    successes: Mutex<Vec<Instant>>,
    connects: Mutex<Vec<Instant>>,
    lags: Mutex<Vec<Duration>>,
    closed: AtomicBool,
}

impl Log {
    pub(crate) fn answer(&self, asked: Instant, took: Duration) {
        self.answers.lock().push((asked, took));
    }

    pub(crate) fn success(&self) {
        self.successes.lock().push(Instant::now());
    }

    pub(crate) fn connect(&self) {
        self.connects.lock().push(Instant::now());
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.lags.lock().push(lag);
    }

    pub(crate) fn first_success_since(&self, moment: Instant) -> Option<Instant> {
        let successes = self.successes.lock();
        successes.get(successes.partition_point(|success| *success < moment)).copied()
    }

    /// Returns each question that was open at some time between these two: when it was asked, and how long its answer
    /// took.
    #[cfg(feature = "mysql")]
    pub(crate) fn waited_between(&self, begin: Instant, end: Instant) -> Vec<(Instant, Duration)> {
        let answers = self.answers.lock();
        answers.iter().copied().filter(|(asked, took)| *asked < end && begin < *asked + *took).collect()
    }

    /// Returns the lags of the timer: the median, the 99th percentile and the longest.
    pub(crate) fn lags(&self) -> [u64; 3] {
        percentiles(&self.lags.lock())
    }

    /// Tells the callers to end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Computes the figures.
    pub(crate) fn sum_up(&self, outages: &[Outage], delays: &[Duration]) -> OutageRun {
        let during = |moment: Instant| outages.iter().any(|outage| outage.contains(moment));
        let answers = self.answers.lock();
        let answers: Vec<Duration> =
            answers.iter().filter(|(asked, _)| during(*asked)).map(|(_, took)| *took).collect();
        let connects: Vec<Instant> = self.connects.lock().iter().copied().filter(|begun| during(*begun)).collect();
        let down: Duration = outages.iter().map(|outage| outage.back - outage.open).sum();
        let [answer_p50, answer_p99, answer_longest] = percentiles(&answers);
        let [lag_p50, lag_p99, lag_longest] = self.lags();
        OutageRun {
            callers: CALLERS as u64,
            answers: answers.len() as u64,
            answer_p50,
            answer_p99,
            answer_longest,
            lag_p50,
            lag_p99,
            lag_longest,
            connects: connects.len() as u64,
            steps: u64::try_from(down.as_micros() / STEP.as_micros()).unwrap_or(u64::MAX),
            most_per_step: most_within(STEP, &connects) as u64,
            delays: delays.iter().copied().map(nanos).collect(),
        }
    }
}

/// Returns the most of these moments, which are in order, within one interval of this length.
fn most_within(length: Duration, moments: &[Instant]) -> usize {
    let from = |first: usize| moments[first..].iter().take_while(|moment| **moment - moments[first] < length).count();
    (0..moments.len()).map(from).max().unwrap_or(0)
}

/// Returns the median, the 99th percentile and the longest, in nanoseconds.
pub(crate) fn percentiles(times: &[Duration]) -> [u64; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).copied().map_or(0, nanos);
    [at(sorted.len() * 50 / 100), at(sorted.len() * 99 / 100), at(sorted.len().saturating_sub(1))]
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_a_step_apart_are_in_different_steps() {
        let begun = Instant::now();
        let after = |millis: u64| begun + Duration::from_millis(millis);
        assert_eq!(most_within(STEP, &[after(0), after(15), after(30)]), 1);
        assert_eq!(most_within(STEP, &[after(0), after(15), after(29), after(40)]), 2);
        assert_eq!(most_within(STEP, &[]), 0);
    }

    #[test]
    fn one_slow_answer_in_a_hundred_shows() {
        let mut times = [Duration::from_micros(2); 100];
        times[17] = Duration::from_micros(9);
        assert_eq!(percentiles(&times), [2_000, 9_000, 9_000]);
    }
}
