//! Request scopes for plain [hyper](https://docs.rs/hyper) 1.x, over HTTP/1 and HTTP/2.
//!
//! - [`ScopeService`] wraps a hyper service and gives each request a scope. It closes the scope before the head of the
//!   response is sent, and as `Cancelled` when the handler is dropped.
//! - [`RequestExt`] finds the scope in a handler: `request.scope()`.
//! - [`serve`] accepts connections, notices clients that disconnect, and shuts down so that every handle is accounted
//!   for. It also serves axum's `Router`, as a [`TowerToHyperService`].
//! - [`Connection`] is how a handler learns the peer's address, and whether the server is shutting down.
//! - [`Handshake`] is the hook for TLS.
//! - [`Listener`] is the source of connections: [`Tcp`], Unix sockets, or an implementation of your own.
//! - [`DisconnectWatch`] notices that a client has disconnected; it also works in an accept loop of your own, and below
//!   TLS.
//! - [`LeaseBody`] is a streamed body that keeps its handle after the scope has closed.
//! - [`Classify`] is for services whose status does not distinguish success from failure.
//!
//! # When a disconnect is noticed
//!
//! hyper notices that a client has disconnected only while it reads from the connection, and then drops the handler. In
//! many states it does not read: while the request's body is unread, while a byte is left in its buffer (a pipelined
//! request, a stray line end), or if half-close is allowed. `serve` notices the disconnect in these states too. A peer
//! that disappears without closing its connection is detected within a minute, by [the kernel](Tcp) or by an unanswered
//! HTTP/2 ping. If that is too long, set a [`timeout`](ScopeService::timeout).
//!
//! # Features
//!
//! None is on by default.
//!
//! - `tracing`: a scope that could not be closed as requested, such as a failed COMMIT, is an ERROR event with target
//!   `reqscope::scope`, and a handler that exceeded its timeout a WARN event; a body that failed or stalled, or whose
//!   release failed, is an event with target `reqscope::body`.
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
    ByGrpcStatus, ByStatus, Chunks, Classify, HandlerTimeout, LeaseBody, LeaseBodyError, MissingScope, Policy,
    RequestExt, RequestHead, ResponseFuture, ScopeBody, Unfold,
};
pub use requests::RequestLine;
pub use serve::{Serve, serve};
pub use service::ScopeService;
pub use tcp::Tcp;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
