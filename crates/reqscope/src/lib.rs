//! Request-scoped resources: acquired on first use, shared within the request, released exactly once.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The modules in reading order, which is also the order of the floors: each knows only those above it.
mod account;
mod acquisition;
mod cell;
mod close;
mod close_error;
mod context;
mod error;
mod exit;
mod foreign;
mod function;
mod guard;
mod lazy;
mod lease;
mod observer;
mod reaper;
mod release;
mod resource;
mod scope;
mod scopes;
mod slot;
mod state;
mod stats;
mod sync;
mod time;

pub use cell::Peek;
pub use close::Close;
pub use close_error::{CloseError, Problem};
pub use error::{Error, Stage};
pub use exit::Exit;
pub use function::{ResourceFn, resource_fn};
pub use guard::Guard;
pub use lazy::{Get, Lazy};
pub use lease::{Lease, Release};
pub use observer::{Abandoned, Observer, Subject};
pub use reaper::{Reaper, ReaperBuilder};
pub use resource::{Health, Resource};
pub use scope::{Scope, ScopeHandle};
pub use scopes::{Scopes, ScopesBuilder};
pub use stats::{DrainReport, Stats};
