//! Every way a request can end, as data.
//!
//! An [`Ending`] is a value: what the handler does, what the client does, and what must be observed. [`play`] runs one on
//! a [`Stack`] over a [`Protocol`], with real sockets and a client that has no manners, and judges it. So the list in
//! `tools/endings/` is the list of what is promised for requests that end badly, and `cargo xtask endings` prints it.
//!
//! # How to read the table
//!
//! A row is an ending; its cells are the two stacks, plain hyper with a `ScopeService` and an axum `Router` with a
//! `ScopeLayer`, both under `serve`, each over HTTP/1 and HTTP/2. Where an ending does not exist (a pipeline in HTTP/2), the
//! cell is `-` by declaration. Each cell is played with a resource whose release settles something, as a COMMIT does,
//! and with one whose release does not, unless the ending says that it is about one of them. It tells
//!
//! - the exit that the resource was told, once for each handle; `none` if nothing was acquired;
//! - how often a release ended, which is as often as something was acquired. What was given up at a deadline is counted
//!   apart;
//! - what the client saw: `200`, `200 cut` (a head, and a body that breaks off), `nothing` (no head at all), or `left`,
//!   where it did not wait for an answer.
//!
//! It is right if all of that is as declared, if no handle was released twice or used after its release, if no client
//! of a settling resource saw a whole success without its `Completed`, if the server shut down clean, and if each event
//! was observed that proves that the ending happened: a handler that was dropped, a body that was cut. Without the
//! event a cell is wrong, whatever else was seen: a fault that did not happen proves nothing.
//!
//! Where hyper does what one would not want, the cell tells what happens, and a note below the table why.
//!
//! Nothing here sleeps to wait for something. What waits, waits for an [`Event`], for a gate of the test kit, or for
//! counters to reach zero, at most as long as [`BOUND`]; a run that takes longer than three times that hangs, and its cell is wrong.
//! Only a deadline that an ending is about passes in real time, and is short.

mod event;
mod scene;
mod stepwise;
mod body;
mod handler;
mod layers;
mod ending;
mod stack;
mod client;
mod world;
mod judge;
mod play;
mod endings;

pub use ending::{Absent, Differs, Ending, Must, Protocol, Resources, Seen, Setup, Stack};
pub use endings::all;
pub use event::Event;
pub use play::{Cell, Verdict, play};

use std::pin::Pin;
use std::time::Duration;

/// Longer than anything here takes, on a machine with many times the load it should have; only what is broken waits so long.
pub const BOUND: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
