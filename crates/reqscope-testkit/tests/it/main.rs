//! The test kit under test.
mod gate;
mod ledger;
mod poll;
mod probe;
