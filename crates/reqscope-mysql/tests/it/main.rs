//! Promises of the adapter. What needs a server stands in `with_server`.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report, in its helpers too")]

mod with_server;
