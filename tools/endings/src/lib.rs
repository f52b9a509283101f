//! Every way a request can end, as data.
//!
//! An [`Ending`] says what the handler does, what the client does, and what must be observed. [`play()`] runs one on a
//! [`Stack`] over a [`Protocol`], with real sockets and a client that misbehaves on purpose, and judges the result.
//! Together they are what reqscope promises for requests that end badly; `cargo xtask endings` prints them.
//!
//! # How to read the table
//!
//! Each row is an ending. Its cells are the two stacks, plain hyper with a `ScopeService` and an axum `Router` with a
//! `ScopeLayer`, both under `serve`, and each of them over HTTP/1 and HTTP/2. A cell is `-` where the ending is
//! declared not to exist, such as a pipeline over HTTP/2. Each cell is played with a resource whose release settles
//! something, as a COMMIT does, and with one whose release does not, unless the ending is about one of the two. A cell
//! shows
//!
//! - the exits passed to `release`, one per handle; `none` if nothing was acquired;
//! - how many releases ended, which equals the number of acquired handles. Handles abandoned at a deadline are counted
//!   separately;
//! - what the client saw: `200`, `200 cut` (a head, and a body that breaks off), `nothing` (no head at all), or `left`,
//!   where it did not wait for a response.
//!
//! A cell is right if
//!
//! - all of that is as declared;
//! - no handle was released twice, or used after its release;
//! - no client of a settling resource saw a complete success without the exit `Completed`;
//! - the server's shutdown was clean, unless declared otherwise;
//! - each event occurred that proves that the ending happened, such as a dropped handler or a cut body. Without it the
//!   cell is wrong, whatever else was observed: a fault that did not happen proves nothing.
//!
//! Where hyper does not do what one would want, the cell shows what happens, and a note below the table says why.
//!
//! Nothing here sleeps in order to wait. Clients wait for an [`Event`], for a gate of the test kit, or for counters to
//! reach zero, for [`BOUND`] at most. A run that takes longer than three times that hangs, and its cell is wrong. Only
//! time limits that an ending is about pass in real time; they are short.

mod event;
mod protocol;
mod layers;
mod setup;
mod stepwise;
mod fixture;
mod body;
mod handler;
mod stack;
mod client;
mod server;
mod ending;
mod judge;
mod play;
mod endings;

pub use client::Seen;
pub use ending::{Absent, Ending, Exception, Expected, Resources};
pub use endings::all;
pub use event::Event;
pub use play::play;
pub use protocol::Protocol;
pub use setup::Setup;
pub use stack::Stack;

use std::pin::Pin;
use std::time::Duration;

/// The limit of every wait, much longer than any of them takes on a busy machine: only a broken ending waits so long.
pub const BOUND: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
