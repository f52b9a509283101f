//! What the crate promises, over real sockets wherever a socket is what it is about.
mod support;

mod http1;
mod http2;
