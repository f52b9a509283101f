//! The parts that front ends share, polled by hand.
#![allow(clippy::unwrap_used)] // helpers of tests are not tests to clippy

#[cfg(feature = "tracing")]
mod events;
mod lease_body;
mod random_bodies;
mod response;
mod stalls;
