//! Request scopes for plain [hyper](https://docs.rs/hyper) 1.x, over HTTP/1 and HTTP/2.
//!
//! - [`ScopeService`] wraps a hyper service: each request gets a scope, which is closed with the verdict on the
//!   response before its head is sent, and as `Cancelled` when the handler is dropped.
//! - [`RequestExt`] is how a handler finds it: `request.scope()`.
//! - [`serve`] accepts connections, notices clients who leave, and shuts down so that every handle is accounted for. It
//!   serves axum's `Router` too, as a [`TowerToHyperService`].
//! - [`Connection`] is how a handler knows its peer, and that the server shuts down.
//! - [`Handshake`] is the place for TLS.
//! - [`Listener`] is where connections come from: [`Tcp`], Unix sockets, or what you write.
//! - [`DisconnectWatch`] is how clients who leave are noticed; it works in an accept loop of your own too, also below TLS.
//! - [`LeaseBody`] is for a streamed body that needs its handle after the scope has ended; [`Classify`] for services
//!   whose status does not tell success from failure. Both come from `reqscope-http`, which all front ends share.
//!
//! When does a handler hear that its client has gone? hyper hears it only while it reads, and drops the handler
//! then. In many states it does not read: while the request's body is unread, a byte is left in its buffer (a
//! pipelined request, a stray line end), or half-close is allowed. `serve` hears it then too. A peer that vanishes
//! without a packet is given up by [the kernel](Tcp), or by a ping of HTTP/2, within a minute; where that is too long,
//! give requests a [`timeout`](ScopeService::timeout).
mod service;
mod serve;
mod accept;
mod connections;
mod drive;
mod tracked;
mod socket;
mod slot;
mod settings;
mod report;
mod requests;
mod handshake;
mod connection;
mod phase;
mod metrics;
mod listener;
mod tcp;
mod disconnect_watch;
mod backoff;
mod descriptors;
mod time;

pub use connection::Connection;
pub use disconnect_watch::DisconnectWatch;
pub use handshake::{Handshake, NoHandshake};
pub use hyper_util::service::TowerToHyperService;
pub use listener::Listener;
pub use metrics::ServeMetrics;
pub use report::{ServeEvent, ServeReport};
pub use reqscope_http::{
    ByGrpcStatus, ByStatus, Chunks, Classify, LeaseBody, LeaseBodyError, MissingScope, Policy, RequestExt,
    ResponseFuture, ScopeBody,
};
pub use requests::RequestLine;
pub use serve::{Serve, serve};
pub use service::ScopeService;
pub use tcp::Tcp;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
