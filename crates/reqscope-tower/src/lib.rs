//! Request scopes for [tower](https://docs.rs/tower), and so for axum and tonic.
//!
//! - [`ScopeLayer`] gives each request a scope, which is closed with the verdict on the response before its head is sent,
//!   and as `Cancelled` when the handler is dropped. Its page says where to put it.
//! - [`RequestExt`] is how any service finds it: `request.scope()`.
//! - [`LeaseBody`] is for a streamed body that needs its handle after the scope has ended; [`Classify`] for services
//!   whose status does not tell success from failure, such as gRPC ([`ByGrpcStatus`]). Both come from `reqscope-http`,
//!   which all front ends share.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `axum`: `Scoped`, an extractor for what the request has of a resource in the router's state; `RequestScope`, one for
//!   the scope itself; `ScopeError`, which is a response.
#![cfg_attr(docsrs, feature(doc_cfg))]

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
    ByGrpcStatus, ByStatus, Chunks, Classify, LeaseBody, LeaseBodyError, MissingScope, Policy, RequestExt,
    ResponseFuture, ScopeBody,
};
#[cfg(feature = "axum")]
pub use request_scope::RequestScope;
#[cfg(feature = "axum")]
pub use scope_error::ScopeError;
#[cfg(feature = "axum")]
pub use scoped::Scoped;
pub use service::ScopeService;

// It shows axum.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
