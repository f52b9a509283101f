//! What `reqscope-sqlite` promises, a sentence each.
// Clippy knows only `#[test]` functions as tests; the helpers next to them are tests too.
#![allow(clippy::unwrap_used)]

mod connection;
mod faults;
mod laws;
mod pool;
mod queue;
mod runtimes;
mod support;
mod transaction;
