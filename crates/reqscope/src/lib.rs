//! Request-scoped resources: acquired on first use, shared within the request, released exactly once.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules in reading order, which is also the order of the floors: each knows only those above it.
mod exit;
mod error;
mod resource;
mod function;
mod sync;
mod time;
mod foreign;
mod observer;
mod stats;
mod account;
mod reaper;
mod context;
mod release;
mod lease;
mod acquisition;
mod cell;
mod close_error;
mod state;
mod slot;
mod guard;
mod lazy;
mod close;
mod scope;
mod scopes;
mod wrap;
mod boxed;
mod ext;

pub use boxed::BoxResource;
pub use cell::Peek;
pub use close::Close;
pub use close_error::{CloseError, Problem};
pub use error::{Error, Stage};
pub use exit::Exit;
pub use ext::ResourceExt;
pub use function::{DropHandle, ResourceFn, resource_fn};
pub use guard::Guard;
pub use lazy::{Get, Lazy};
pub use lease::{Lease, Release};
pub use observer::{Abandoned, Observer, Subject};
pub use reaper::{Reaper, ReaperBuilder};
pub use resource::{Health, Resource};
pub use scope::{Scope, ScopeHandle};
pub use scopes::{Scopes, ScopesBuilder};
pub use stats::{DrainReport, Stats};
pub use wrap::{Retry, RetryPolicy, Shared, SharedGet, SharedHandle, Timeout};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
