//! Request-scoped resources: acquired on first use, shared within the request, released exactly once.
//!
//! A request needs a connection, a transaction, a file, a lock. It gets it on first use, every function of that
//! request shares it, and it goes back exactly once: when the handler returns, when the client hangs up, when the
//! handler panics, is cancelled or times out, when the server shuts down.
//!
//! # A tour
//!
//! A [`Resource`] is three verbs, of which only `acquire` is required. [`Scopes`] opens a [`Scope`] per request; the
//! request's functions ask its [`ScopeHandle`] for a [`Lazy`] cell, and the cell for a [`Guard`]. The owner of the
//! scope closes it with an [`Exit`], which every handle's `release` is told.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use reqscope::{Error, Exit, Resource, ScopeHandle, Scopes};
//! use std::{convert::Infallible, sync::Arc};
//!
//! /// A ledger page: entries count only if the page is signed.
//! struct Pages;
//!
//! impl Resource for Pages {
//!     type Handle = Vec<&'static str>;
//!     type Cause = Infallible;
//!
//!     async fn acquire(&self) -> Result<Self::Handle, Error<Infallible>> {
//!         Ok(Vec::new())
//!     }
//!
//!     async fn release(&self, page: Self::Handle, exit: Exit) -> Result<(), Error<Infallible>> {
//!         match exit {
//!             Exit::Completed => println!("signed: {page:?}"),
//!             _ => println!("torn up"),
//!         }
//!         Ok(())
//!     }
//!
//!     // The client may not hear "done" before the page is signed.
//!     fn settles(&self, exit: Exit) -> bool {
//!         exit.is_completed()
//!     }
//! }
//!
//! async fn debit(request: &ScopeHandle, pages: &Arc<Pages>) -> Result<(), Error<Infallible>> {
//!     request.lazy(pages).get().await?.push("debit"); // first use: acquired here
//!     Ok(())
//! }
//!
//! async fn credit(request: &ScopeHandle, pages: &Arc<Pages>) -> Result<(), Error<Infallible>> {
//!     request.lazy(pages).get().await?.push("credit"); // the same page
//!     Ok(())
//! }
//!
//! let pages = Arc::new(Pages);
//! let scopes = Scopes::new();
//!
//! let scope = scopes.open();
//! debit(scope.handle(), &pages).await.unwrap();
//! credit(scope.handle(), &pages).await.unwrap();
//! scope.close(Exit::Completed).await.unwrap(); // signed: ["debit", "credit"]
//!
//! drop(scopes.open()); // a request that never asked: nothing was acquired
//! assert_eq!(scopes.stats().acquired, 1);
//! # });
//! ```
//!
//! Three ways to share, one vocabulary:
//!
//! | one handle for | type | ends |
//! |---|---|---|
//! | a request | [`Lazy`] in a [`Scope`] | when the scope closes |
//! | a piece of work that you bound yourself | [`Lease`] | when you say so, or drop it |
//! | everybody | [`Shared`] | when the last user has dropped it |
//!
//! A [`Pool`] keeps handles between those uses, and is a resource like any other: over it a cell or a lease checks one
//! out and gives it back.
//!
//! Around a resource go [`Timeout`](wrap::Timeout), [`Retry`](wrap::Retry) and your own: a wrapper is a `Resource` around a `Resource`. Code in a
//! `Drop` reaches async release through the [`Reaper`]. An [`Observer`] hears what nobody awaits.
//!
//! # What it needs
//!
//! A tokio runtime with timers, as soon as something has to wait: multi-thread, current-thread or `LocalSet`, one or
//! several in a process. Where there is none the answer is an error, never a panic. With `panic = "abort"` panics in
//! a resource cannot be caught, and none of what is said about them holds.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `tracing`: an acquisition that moves to a task of its own keeps the caller's span.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules in reading order, which is also the order of the floors: each knows only those above it.
mod exit;
pub mod error;
mod resource;
mod rt;
pub mod observer;
pub mod stats;
pub mod reaper;
mod lease;
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
pub use lease::Lease;
#[doc(inline)]
pub use observer::Observer;
#[doc(inline)]
pub use pool::{Pool, Pooled};
#[doc(inline)]
pub use reaper::Reaper;
pub use resource::{Health, Resource};
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
