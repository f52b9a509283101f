//! What the crate promises, over real sockets wherever a socket is what it is about.
#![allow(clippy::unwrap_used)] // helpers of tests are not tests to clippy

mod support;

mod bodies;
mod endings;
mod http1;
mod http2;
mod listeners;
mod shutdown;
#[cfg(not(reqscope_portable))]
mod watch;
