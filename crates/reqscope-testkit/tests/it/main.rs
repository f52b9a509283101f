//! The test kit under test.
mod gate;
mod laws;
mod ledger;
mod poll;
mod probe;
