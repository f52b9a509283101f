//! Request scopes for [tower](https://docs.rs/tower), and so for axum and tonic.
//!
//! - [`ScopeLayer`] gives each request a scope. It closes the scope before the head of the response is sent, and as
//!   `Cancelled` when the handler is dropped. Its page shows where to put the layer.
//! - [`RequestExt`] finds the scope in any service: `request.scope()`.
//! - [`LeaseBody`] is a streamed body that keeps its handle after the scope has closed.
//! - [`Classify`] is for services whose status does not distinguish success from failure, such as gRPC
//!   ([`ByGrpcStatus`]).
//! - [`Policy`] holds the settings of a layer, so that several layers can share them.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `axum`: the extractors `Scoped`, for the request's handle of a resource in the router's state, and `RequestScope`,
//!   for the scope itself; `ScopeError`, an error that is a response; labels from the routes of a router.
//! - `tracing`: a scope that could not be closed as requested, such as a failed COMMIT, is an ERROR event with target
//!   `reqscope::scope`, and a handler that exceeded its timeout a WARN event; a body that failed or stalled, or whose
//!   release failed, is an event with target `reqscope::body`.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
mod route;
mod service;
mod layer;
#[cfg(feature = "axum")]
mod scope_error;
#[cfg(feature = "axum")]
mod request_scope;
#[cfg(feature = "axum")]
mod scoped;

pub use layer::ScopeLayer;
pub use reqscope_http::{
    ByGrpcStatus, ByStatus, Chunks, Classify, HandlerTimeout, LeaseBody, LeaseBodyError, MissingScope, Policy,
    RequestExt, RequestHead, ResponseFuture, ScopeBody, Unfold,
};
#[cfg(feature = "axum")]
pub use request_scope::RequestScope;
#[cfg(feature = "axum")]
pub use scope_error::ScopeError;
#[cfg(feature = "axum")]
pub use scoped::Scoped;
pub use service::ScopeService;

// The README uses axum.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
