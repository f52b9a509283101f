//! What the crate promises, over real sockets wherever sockets matter.
#![allow(clippy::unwrap_used)] // helpers of tests are not tests to clippy

mod support;

mod axum;
mod bodies;
mod endings;
mod hang_ups;
mod handshake;
mod http1;
mod http2;
mod labels;
mod listeners;
mod shutdown;
mod stalls;
mod stuck;
mod timeouts;
mod tls;
mod upgrades;
#[cfg(all(target_os = "linux", not(reqscope_portable)))]
mod dead_peer;
#[cfg(not(reqscope_portable))]
mod disconnect_watch;
