//! The layer around services polled by hand, and the extractors in a real axum router.
#![allow(clippy::unwrap_used)] // helpers of tests are not tests to clippy

mod bodies;
mod bounds;
mod layer;
mod placement;
mod support;

#[cfg(feature = "axum")]
mod labels;
#[cfg(feature = "axum")]
mod question_mark;
#[cfg(feature = "axum")]
mod scope_error;
#[cfg(feature = "axum")]
mod scoped;
#[cfg(feature = "axum")]
mod sqlite;
