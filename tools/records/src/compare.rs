//! What `reqscope-compare` prints. Times are in nanoseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The package that is compared with the others.
pub const OURS: &str = "reqscope";

/// One contender: `list` and `cell-list`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ContenderInfo {
    /// Its name on the command line.
    pub name: String,
    /// Its name in the tables.
    pub title: String,
    /// The package it comes from. `None` for a floor, which is a few lines of our own.
    pub package: Option<String>,
    /// The version of that package.
    pub version: Option<String>,
}

impl ContenderInfo {
    /// Returns whether this is reqscope.
    pub fn is_ours(&self) -> bool {
        self.package.as_deref() == Some(OURS)
    }

    /// Returns the package with its version, or `None` for a floor.
    pub fn release(&self) -> Option<String> {
        Some(format!("{} {}", self.package.as_deref()?, self.version.as_deref()?))
    }
}

/// One row of an honesty table: `rows` and `cell-rows`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RowInfo {
    /// Its name on the command line.
    pub name: String,
    /// What the table says.
    pub title: String,
}

/// What a fault script found: one cell of the honesty table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "verdict", content = "saw", rename_all = "lowercase")]
pub enum Verdict {
    /// The contender did what a pool or a lazy cell is for.
    Pass,
    /// What the script saw instead.
    Fail(String),
    /// The contender has nothing that the fault could be about.
    #[serde(rename = "not offered")]
    NotOffered,
}

/// The verdict on one contender in one row: `fault` and `cell-fault`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Judged {
    /// The name of the row.
    pub row: String,
    /// The name of the contender.
    pub contender: String,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// One turn of each contender, by their names.
#[derive(Debug, Deserialize, Serialize)]
pub struct Round<T> {
    /// The contenders that took part.
    pub each: BTreeMap<String, T>,
    /// A second turn of the first contender: the difference is noise.
    pub again: T,
}

/// 64 tasks on 8 handles: `contended`.
#[derive(Debug, Deserialize, Serialize)]
pub struct ContendedTurn {
    /// Operations a second, of all tasks.
    pub per_second: f64,
    /// Operations of the task that was served least.
    pub least: u64,
    /// Operations of the task that was served most.
    pub most: u64,
}

/// How long tasks waited for a handle: `waits`.
#[derive(Debug, Deserialize, Serialize)]
pub struct Waits {
    /// The median.
    pub median: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The longest.
    pub longest: u64,
}

/// 1000 waiters on 8 handles, of which every second one leaves: `cancelled`.
#[derive(Debug, Deserialize, Serialize)]
pub struct CancelledTurn {
    /// How many waiters stayed and received no answer.
    pub hung: u64,
    /// How many waiters stayed and received an error.
    pub refused: u64,
    /// How many handles the pool could still lend afterwards.
    pub back: u64,
    /// How many handles were created.
    pub created: u64,
    /// The time from the first grant to the last waiter that was served.
    pub took: u64,
}

/// 1000 gets at once on an empty pool of 100: `storm`.
#[derive(Debug, Deserialize, Serialize)]
pub struct StormTurn {
    /// How many handles were created.
    pub created: u64,
    /// How many gets were served.
    pub served: u64,
    /// The time until the last handle was returned.
    pub took: u64,
    /// How long the gets waited.
    pub waits: Waits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_has_no_release_and_is_not_ours() {
        let contender = |package: Option<&str>| ContenderInfo {
            name: "pool".to_owned(),
            title: "a pool".to_owned(),
            package: package.map(str::to_owned),
            version: package.map(|_| "1.2.3".to_owned()),
        };
        assert_eq!(contender(Some("bb8")).release().as_deref(), Some("bb8 1.2.3"));
        assert!(contender(Some(OURS)).is_ours());
        assert!(contender(None).release().is_none() && !contender(None).is_ours());
    }
}
