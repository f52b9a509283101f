//! What `reqscope-endings` prints.

use serde::{Deserialize, Serialize};

/// An ending on both stacks, over both protocols.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    /// The name of the ending on the command line.
    pub name: String,
    /// What happens.
    pub sentence: String,
    /// The ending on each stack and protocol.
    pub cells: Vec<Cell>,
}

/// One ending on one stack over one protocol.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Cell {
    /// The stack it was played on.
    pub stack: String,
    /// The protocol of the client.
    pub protocol: String,
    /// Whether it is right.
    pub verdict: Verdict,
    /// The exits passed to `release`, in order.
    pub exits: Vec<String>,
    /// How many releases ended.
    pub released: u64,
    /// How many handles were abandoned at a deadline.
    pub abandoned: u64,
    /// What the client saw.
    pub seen: String,
    /// The events that prove that the ending happened.
    pub events: Vec<String>,
    /// Why the result differs from the other cells, or is not what one would want.
    pub note: Option<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// Whether a cell is right.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything is as declared.
    Right,
    /// The ending does not exist here, for this reason.
    Absent(String),
    /// Something is not as declared.
    Wrong(String),
}
