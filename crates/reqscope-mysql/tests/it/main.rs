//! Tests of the adapter. Those that need a server are in `with_server`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test and its helpers report a failure")]

mod stacks;
mod with_server;
