//! Building blocks that the HTTP front ends of [reqscope](https://docs.rs/reqscope) share.
//!
//! Applications use a front end: `reqscope-tower` for axum, tonic and tower, `reqscope-hyper` for plain hyper. Both
//! re-export what their users need from here: [`RequestExt`], [`Classify`], [`Policy`] and [`LeaseBody`].
//!
//! # Writing a front end
//!
//! 1. Keep a [`Policy`] in an [`Arc`](std::sync::Arc).
//! 2. In `call`, [`open`](Policy::open) the scope, call the handler, and wrap its future with [`Opened::answer`].
//! 3. Drop the [`ResponseFuture`] when the client has disconnected.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use reqscope::Scopes;
//! use reqscope_http::{Policy, RequestExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (scopes, policy) = (Scopes::new(), Arc::new(Policy::new()));
//! let mut request = Request::new(());
//!
//! let opened = policy.open(&scopes, &mut request);
//! let response = opened.answer(async move {
//!     assert!(!request.scope().is_closed());
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! assert!(response.await.unwrap().status().is_success());
//! assert_eq!(scopes.stats().open_scopes, 0);
//! # }
//! ```
//!
//! # Features
//!
//! None is on by default.
//!
//! - `tracing`: failures that no client can see are events. Target `reqscope::scope`, level ERROR: a scope that could not
//!   be closed as requested, with its label and all causes, also if its client has disconnected meanwhile; level WARN:
//!   a handler that exceeded its timeout. Target
//!   `reqscope::body`: a [`LeaseBody`] that failed, or whose release failed (ERROR), one whose client does not read it
//!   (WARN), and an empty one that was dropped without having been polled (WARN).
mod unwind;
mod request;
mod classify;
mod handler_timeout;
mod policy;
mod stall;
mod report;
mod future;
mod opened;
mod body;
mod source;
mod lease_body_error;
mod lease_cell;
mod settling;
mod streaming;
mod lease_body;

pub use body::ScopeBody;
pub use classify::{ByGrpcStatus, ByStatus, Classify};
pub use future::ResponseFuture;
pub use handler_timeout::HandlerTimeout;
pub use lease_body::LeaseBody;
pub use lease_body_error::LeaseBodyError;
pub use opened::Opened;
pub use policy::Policy;
pub use request::{MissingScope, RequestExt, RequestHead};
pub use source::{Chunks, Unfold};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
