//! What the clients saw, by scenario.
use std::io;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::client::outcome::{Answer, Outcome};
use crate::client::plan::{Plan, Scenario};
use crate::client::protocol::Protocol;

/// What all clients saw.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) scenarios: Vec<ScenarioResults>,
    /// The tags of all transactions that were answered with a 200: each promises that its row exists.
    #[serde(serialize_with = "count")]
    pub(crate) promised: Vec<u32>,
    /// How many complete answers were not a 200.
    pub(crate) refused: u64,
    /// The text of the first of those.
    pub(crate) first_refusal: Option<String>,
    /// The first error of a client that could not carry out its plan.
    pub(crate) first_failure: Option<String>,
}

/// Serializes how many tags there are.
fn count<S: Serializer>(promised: &[u32], to: S) -> Result<S::Ok, S::Error> {
    promised.len().serialize(to)
}

/// What the clients of one scenario saw.
#[derive(Serialize)]
pub(crate) struct ScenarioResults {
    pub(crate) scenario: Scenario,
    /// How many plans there were.
    pub(crate) sent: u64,
    /// How many requests they sent. Half a request is none.
    pub(crate) requests: u64,
    pub(crate) answered: u64,
    /// How often the client could not carry out its plan.
    pub(crate) failed: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    #[serde(skip)]
    latencies: Vec<Duration>,
}

impl Results {
    pub(crate) fn new(protocol: Protocol) -> Results {
        let row = |(scenario, _): &(Scenario, u64)| ScenarioResults {
            scenario: *scenario,
            sent: 0,
            requests: 0,
            answered: 0,
            failed: 0,
            p50_ms: None,
            p99_ms: None,
            latencies: Vec::new(),
        };
        Results {
            scenarios: Scenario::weights(protocol).iter().map(row).collect(),
            promised: Vec::new(),
            refused: 0,
            first_refusal: None,
            first_failure: None,
        }
    }

    /// Returns how many answers the clients that wait should have received, and how many they did receive.
    pub(crate) fn awaited(&self) -> (u64, u64) {
        let waits = self.scenarios.iter().filter(|row| row.scenario.waits());
        waits.fold((0, 0), |(requests, answered), row| (requests + row.requests, answered + row.answered))
    }

    /// Adds what came of a plan.
    pub(crate) fn record(&mut self, plan: &Plan, outcome: io::Result<Outcome>) {
        let row = self
            .scenarios
            .iter_mut()
            .find(|row| row.scenario == plan.scenario)
            .expect("every scenario has its results");
        row.sent += 1;
        if plan.scenario != Scenario::HalfRequest {
            row.requests += plan.paths.len() as u64;
        }
        match outcome {
            Ok(outcome) => {
                row.answered += outcome.answers.len() as u64;
                row.latencies.extend(outcome.latency);
                self.promised.extend(outcome.answers.iter().filter_map(Answer::promise));
                for refusal in outcome.answers.iter().filter_map(Answer::refusal) {
                    self.refused += 1;
                    self.first_refusal.get_or_insert(refusal);
                }
            }
            Err(error) => {
                row.failed += 1;
                self.first_failure
                    .get_or_insert_with(|| format!("{} {}: {error}", plan.scenario.name(), plan.paths.join(" ")));
            }
        }
    }

    /// Adds what the clients of another thread saw.
    pub(crate) fn merge(&mut self, other: Results) {
        for (row, more) in self.scenarios.iter_mut().zip(other.scenarios) {
            row.sent += more.sent;
            row.requests += more.requests;
            row.answered += more.answered;
            row.failed += more.failed;
            row.latencies.extend(more.latencies);
        }
        self.promised.extend(other.promised);
        self.refused += other.refused;
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    /// Computes the quantiles, when all has been recorded.
    pub(crate) fn finish(&mut self) {
        for row in &mut self.scenarios {
            row.latencies.sort_unstable();
            row.p50_ms = quantile(&row.latencies, 0.50);
            row.p99_ms = quantile(&row.latencies, 0.99);
        }
    }
}

fn quantile(sorted: &[Duration], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (last as f64 * share).round() as usize;
    Some(sorted[at].as_secs_f64() * 1e3)
}
