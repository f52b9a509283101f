//! Request-scoped resources for async servers: acquired on first use, shared within the request, released exactly once.
//!
//! A request needs a connection, a transaction, a file or a lock. This crate acquires such a handle on first use,
//! shares it between all functions of the request, and releases it exactly once, however the request ends: the handler
//! returns, panics or times out, the client disconnects, or the server shuts down.
//!
//! # The life of a request
//!
//! ```text
//!  front end            handler                    handle
//!     │ Scopes::open       │                          │  no I/O
//!     ├───────────────────►│                          │
//!     │                    │ lazy(&db).get() ────────►│  first use: `acquire`
//!     │                    │◄────────────────── Guard │  a loan
//!     │                    │ drop(guard) ────────────►│  idle in its cell
//!     │                    │ lazy(&db).get() ────────►│  later use: the same handle
//!     │◄───────────────────┤                          │
//!     │ Scope::close(exit)                            │
//!     ├──────────────────────────────────────────────►│  `release(handle, exit)`, e.g. COMMIT
//!     │ response                                      │
//! ```
//!
//! If the front end drops the [`Scope`] instead of closing it (the client disconnected, a timeout passed, the handler
//! panicked), the handles are still released, as [`Exit::Cancelled`] or [`Exit::Panicked`], in a task of the
//! [`Reaper`].
//!
//! # A short tour
//!
//! A [`Resource`] has three verbs, `acquire`, `validate` and `release`; only `acquire` is required. [`Scopes`] opens a
//! [`Scope`] for each request. The functions of the request get a [`Lazy`] cell from the [`ScopeHandle`], and a
//! [`Guard`] from the cell. The owner of the scope closes it with an [`Exit`], which is passed to the `release` of each
//! handle.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use reqscope::{Error, Exit, Resource, ScopeHandle, Scopes};
//! use std::{convert::Infallible, sync::Arc};
//!
//! /// Collects the emails of a request, and sends them only if the request succeeds.
//! struct Outbox;
//!
//! impl Resource for Outbox {
//!     type Handle = Vec<&'static str>;
//!     type Cause = Infallible; // the resource's own error
//!
//!     async fn acquire(&self) -> Result<Self::Handle, Error<Infallible>> {
//!         Ok(Vec::new())
//!     }
//!
//!     async fn release(&self, emails: Self::Handle, exit: Exit) -> Result<(), Error<Infallible>> {
//!         match exit {
//!             Exit::Completed => println!("sent {emails:?}"),
//!             _ => println!("discarded {emails:?}"),
//!         }
//!         Ok(())
//!     }
//!
//!     // The response waits until the emails are sent.
//!     fn settles(&self, exit: Exit) -> bool {
//!         exit.is_completed()
//!     }
//! }
//!
//! async fn create_order(request: &ScopeHandle, outbox: &Arc<Outbox>) -> Result<(), Error<Infallible>> {
//!     request.lazy(outbox).get().await?.push("confirmation"); // first use: acquired here
//!     Ok(())
//! }
//!
//! async fn create_invoice(request: &ScopeHandle, outbox: &Arc<Outbox>) -> Result<(), Error<Infallible>> {
//!     request.lazy(outbox).get().await?.push("invoice"); // the same handle
//!     Ok(())
//! }
//!
//! let outbox = Arc::new(Outbox); // one per server
//! let scopes = Scopes::new(); // one per server
//!
//! let scope = scopes.open(); // one per request
//! create_order(scope.handle(), &outbox).await.unwrap();
//! create_invoice(scope.handle(), &outbox).await.unwrap();
//! scope.close(Exit::Completed).await.unwrap(); // sent ["confirmation", "invoice"]
//!
//! drop(scopes.open()); // a request that uses no resource: nothing is acquired
//! assert_eq!(scopes.stats().acquired, 1);
//! # });
//! ```
//!
//! Work without a front end, such as a job of a queue, runs in a scope with [`Scopes::run`], which also closes it.
//!
//! There are three ways to share a handle:
//!
//! | one handle for | type | it is released when |
//! |---|---|---|
//! | a request | [`Lazy`], in a [`Scope`] | the scope closes |
//! | a piece of work of your own | [`Lease`] | the lease is ended or dropped |
//! | the whole server | [`Shared`] | its last user drops it |
//!
//! A [`Pool`] keeps handles between uses. It is a resource too: its `acquire` checks a handle out and its `release`
//! returns it. [`Timeout`](wrap::Timeout) and [`Retry`](wrap::Retry) wrap any resource and are themselves resources.
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | [`scope`] | scopes, lazy cells, guards, and the error of a close |
//! | [`pool`] | a bounded set of handles that are used again |
//! | [`wrap`] | resources made from a closure or around another resource: timeout, retry, tag, box |
//! | [`error`] | the one [`Error`] of all operations, its stage, and what a pool adds to it |
//! | [`observer`] | events that no task awaits, for metrics and logs |
//! | [`stats`] | the counters, and the report of a drain |
//! | [`reaper`] | async release from `Drop` |
//! | [`context`] | what goes beside a call of `acquire`: the request's label, tenant and deadline |
//! | [`future`] | the named futures of these methods |
//!
//! Docs that mention a law (L1 to L19) refer to the promises listed in the repository's `ARCHITECTURE.md`.
//!
//! # Requirements
//!
//! An operation that has to wait needs a tokio runtime with timers: multi-threaded, current-thread or a `LocalSet`, one
//! or several in a process. Without such a runtime it returns an error and does not panic. With `panic = "abort"` a
//! panic in a resource cannot be caught, and statements in these docs about panics do not apply.
//!
//! # Features
//!
//! No feature is on by default.
//!
//! - `tracing`: an acquisition that moves to a task of its own runs in the caller's span.
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order: each module imports only from the modules above it.
mod exit;
mod escape;
mod details;
pub mod error;
mod identity;
mod resource;
mod rt;
mod stack;
pub mod observer;
pub mod stats;
pub mod reaper;
mod lease;
pub mod context;
mod cell;
pub mod scope;
mod shared;
pub mod pool;
pub mod wrap;
mod ext;
pub mod future;

#[doc(inline)]
pub use error::Error;
pub use exit::Exit;
pub use ext::ResourceExt;
pub use identity::Identity;
pub use lease::Lease;
#[doc(inline)]
pub use observer::Observer;
#[doc(inline)]
pub use pool::{Pool, Pooled};
#[doc(inline)]
pub use reaper::Reaper;
pub use resource::{Health, Reset, Resource};
#[doc(inline)]
pub use scope::{CloseError, Guard, Lazy, Scope, ScopeHandle, Scopes};
pub use shared::{Shared, SharedHandle};
#[doc(inline)]
pub use wrap::{BoxResource, resource_fn};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
mod must_not_compile;

#[cfg(all(test, reqscope_loom))]
mod loom;
