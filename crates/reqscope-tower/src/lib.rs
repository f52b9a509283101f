//! Request scopes for [tower](https://docs.rs/tower), and so for axum and tonic.
//!
//! - [`ScopeLayer`] gives each request a scope, which is closed with the verdict on the response before its head is sent,
//!   and as `Cancelled` when the handler is dropped.
//! - [`RequestExt`] is how a handler finds it: `request.scope()`.
//! - [`LeaseBody`] is for a streamed body that needs its handle after the scope has ended; [`Classify`] for services
//!   whose status does not tell success from failure, such as gRPC ([`ByGrpcStatus`]). Both come from `reqscope-http`,
//!   which all front ends share.
mod service;
mod layer;

pub use layer::ScopeLayer;
pub use reqscope_http::{
    ByGrpcStatus, ByStatus, Chunks, Classify, LeaseBody, LeaseBodyError, MissingScope, RequestExt, ResponseFuture,
    ScopeBody,
};
pub use service::ScopeService;
