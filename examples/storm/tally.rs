//! What the clients saw, by fate.
use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::client::Seen;
use crate::fate::{Fate, Part};

/// The clients' side of the storm.
#[derive(Serialize)]
pub(crate) struct Tally {
    pub(crate) fates: Vec<Row>,
    /// Answers 200 to a transaction: each is a promise that its row is there.
    pub(crate) promised: u64,
    /// Whole answers that were not a 200.
    pub(crate) refused: u64,
    /// What the first of those said.
    pub(crate) first_refusal: Option<String>,
    /// What the first client said that could not play its part.
    pub(crate) first_failure: Option<String>,
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
    pub(crate) fn new() -> Tally {
        let row = |(fate, _)| Row {
            fate,
            sent: 0,
            requests: 0,
            answered: 0,
            failed: 0,
            p50_ms: None,
            p99_ms: None,
            latencies: Vec::new(),
        };
        Tally {
            fates: Fate::WEIGHTS.map(row).into(),
            promised: 0,
            refused: 0,
            first_refusal: None,
            first_failure: None,
        }
    }

    pub(crate) fn row(&self, fate: Fate) -> &Row {
        self.fates.iter().find(|row| row.fate == fate).expect("every fate has its row")
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
                self.first_refusal = self.first_refusal.take().or(seen.refusal);
                self.promised += seen.answers.iter().filter(|answer| **answer == ("/tx", 200)).count() as u64;
                self.refused += seen.answers.iter().filter(|(_, status)| *status != 200).count() as u64;
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
        self.promised += other.promised;
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
