//! What the clients saw, by fate.
use std::io;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::client::outcome::{Answer, Seen};
use crate::client::plan::{Fate, Part};
use crate::client::protocol::Protocol;

/// The clients' side of the storm.
#[derive(Serialize)]
pub(crate) struct Tally {
    pub(crate) fates: Vec<Row>,
    /// Answers 200 to a transaction: each is a promise that its row is there.
    #[serde(serialize_with = "count")]
    pub(crate) promised: Vec<u32>,
    /// Whole answers that were not a 200.
    pub(crate) refused: u64,
    /// What the first of those said.
    pub(crate) first_refusal: Option<String>,
    /// What the first client said that could not play its part.
    pub(crate) first_failure: Option<String>,
}

fn count<S: Serializer>(promised: &[u32], to: S) -> Result<S::Ok, S::Error> {
    promised.len().serialize(to)
}

/// One fate.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) fate: Fate,
    /// How often it was played.
    pub(crate) sent: u64,
    /// With how many requests; half a request is none.
    pub(crate) requests: u64,
    pub(crate) answered: u64,
    /// How often the client could not play its part.
    pub(crate) failed: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    #[serde(skip)]
    latencies: Vec<Duration>,
}

impl Tally {
    pub(crate) fn new(protocol: Protocol) -> Tally {
        let row = |(fate, _): &(Fate, u64)| Row {
            fate: *fate,
            sent: 0,
            requests: 0,
            answered: 0,
            failed: 0,
            p50_ms: None,
            p99_ms: None,
            latencies: Vec::new(),
        };
        Tally {
            fates: Fate::weights(protocol).iter().map(row).collect(),
            promised: Vec::new(),
            refused: 0,
            first_refusal: None,
            first_failure: None,
        }
    }

    /// How many answers those who wait for them were to have, and had.
    pub(crate) fn awaited(&self) -> (u64, u64) {
        let waits = self.fates.iter().filter(|row| row.fate.waits());
        waits.fold((0, 0), |(requests, answered), row| (requests + row.requests, answered + row.answered))
    }

    pub(crate) fn record(&mut self, part: &Part, seen: io::Result<Seen>) {
        let row = self.fates.iter_mut().find(|row| row.fate == part.fate).expect("every fate has its row");
        row.sent += 1;
        if part.fate != Fate::HalfRequest {
            row.requests += part.paths.len() as u64;
        }
        match seen {
            Ok(seen) => {
                row.answered += seen.answers.len() as u64;
                row.latencies.extend(seen.latency);
                self.promised.extend(seen.answers.iter().filter_map(Answer::promise));
                for refusal in seen.answers.iter().filter_map(Answer::refusal) {
                    self.refused += 1;
                    self.first_refusal.get_or_insert(refusal);
                }
            }
            Err(error) => {
                row.failed += 1;
                self.first_failure
                    .get_or_insert_with(|| format!("{} {}: {error}", part.fate.name(), part.paths.join(" ")));
            }
        }
    }

    /// Adds what the client of another thread saw.
    pub(crate) fn merge(&mut self, other: Tally) {
        for (row, more) in self.fates.iter_mut().zip(other.fates) {
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

    /// Works out the quantiles, when nothing is to come.
    pub(crate) fn finish(&mut self) {
        for row in &mut self.fates {
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
