//! Runs the examples as a user does: as programs.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report, in its helpers too")]

#[cfg(feature = "axum")]
mod over_axum;
#[cfg(feature = "grpc")]
mod over_grpc;
#[cfg(all(unix, feature = "tls"))]
mod over_tls;
mod process;
mod programs;
mod storm;
#[cfg(all(unix, feature = "axum", feature = "mysql"))]
mod with_server;
