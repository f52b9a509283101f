//! What a storm has found, before it is judged.
use std::collections::HashSet;

use serde::Serialize;

use crate::client::results::Results;
use crate::server::stats::Stats;

/// What the clients saw, and what the server counted.
#[derive(Serialize)]
pub(crate) struct Findings {
    #[serde(flatten)]
    pub(crate) results: Results,
    pub(crate) server: Stats,
    /// How many of 10 handles could be acquired at once after the storm.
    pub(crate) probe: u64,
    /// How many answers promised a row that does not exist.
    pub(crate) broken_promises: u64,
}

impl Findings {
    /// Compares the answers that the clients got with the tags in the rows.
    pub(crate) fn new(results: Results, server: Stats, probe: u64, tags: &HashSet<u32>) -> Findings {
        let broken_promises = results.promised.iter().filter(|tag| !tags.contains(tag)).count() as u64;
        Findings { results, server, probe, broken_promises }
    }
}
