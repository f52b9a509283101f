//! The behaviour of `reqscope-sqlite`.
// Clippy knows only `#[test]` functions as tests; the helpers next to them belong to tests as well.
#![allow(clippy::unwrap_used)]

mod connection;
mod faults;
mod laws;
mod locations;
mod paused;
mod pool;
mod queue;
mod runtimes;
mod support;
mod transaction;
