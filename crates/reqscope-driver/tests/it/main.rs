//! Tests of the building blocks, over the adapter and the server of the example `adapter`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test and its helpers report a failure")]

mod attempts;
mod dialling;
mod flight;
mod frame;
#[path = "../../examples/adapter/kv.rs"]
mod kv;
mod laws;
#[path = "../../examples/adapter/server.rs"]
mod server;
mod support;
