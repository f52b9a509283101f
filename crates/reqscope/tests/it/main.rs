//! Tests of the core's promises, with gates, paused clocks and futures polled by hand.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking, in its helpers too")]

mod after_the_end;
mod auto_traits;
mod closing;
mod closing_time;
mod context;
mod completing;
mod cooperation;
mod cut_close;
mod draining;
mod error_chains;
mod error_classes;
mod errors;
mod extremes;
mod failure;
mod first_use;
mod foreign_drops;
mod hooked;
mod identity;
mod jobs;
mod leases;
mod lending;
mod locations;
mod locked_drops;
mod model;
mod observing;
mod pool;
mod pool_model;
mod quiet_drop;
mod races;
mod reentry;
mod request_deadline;
mod reuse;
mod runtimes;
mod settling;
mod sharing;
mod shortages;
#[cfg(feature = "tracing")]
mod spans;
mod stacks;
mod support;
mod turns;
mod undriven;
mod watchdog;
mod wrapping;
