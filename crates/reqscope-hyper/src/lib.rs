//! Request scopes for plain [hyper](https://docs.rs/hyper) 1.x, over HTTP/1 and HTTP/2.
//!
//! - [`ScopeService`] wraps a hyper service: each request gets a scope, which is closed with the verdict on the
//!   response before its head is sent, and as `Cancelled` when the handler is dropped.
//! - [`RequestExt`] is how a handler finds it: `request.scope()`.
//! - [`serve`] accepts connections, notices clients who leave, and shuts down so that every handle is accounted for.
//! - [`Watch`] is how it notices them; it works in an accept loop of your own too, also below TLS.
//! - [`Listener`] is where connections come from: TCP, Unix sockets, or what you write.
//! - [`LeaseBody`] is for a streamed body that needs its handle after the scope has ended; [`Classify`] for services
//!   whose status does not tell success from failure. Both come from `reqscope-http`, which all front ends share.
//!
//! When does a handler hear that its client has gone? hyper hears it only while it reads, and drops the handler
//! then. In many states it does not read: while the request's body is unread, a byte is left in its buffer (a
//! pipelined request, a stray line end), or half-close is allowed. `serve` hears it then too. What neither hears
//! is a peer that vanishes without a packet: give requests a [`timeout`](ScopeService::timeout).
mod service;
mod serve;
mod report;
mod connection;
mod listener;
mod watch;
mod backoff;
mod limit;

pub use listener::Listener;
pub use report::{ServeReport, Trouble};
pub use reqscope_http::{
    ByGrpcStatus, ByStatus, Chunks, Classify, LeaseBody, LeaseBodyError, MissingScope, RequestExt, ResponseFuture,
    ScopeBody,
};
pub use serve::{Serve, serve};
pub use service::ScopeService;
pub use watch::Watch;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
