//! Tests of the test kit.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report, in its helpers too")]
#[cfg(feature = "proxy")]
mod fault_proxy;
mod drained;
mod gate;
mod laws;
mod ledger;
mod panics;
mod poll;
mod probe;
#[cfg(all(feature = "servers", unix))]
mod servers;
