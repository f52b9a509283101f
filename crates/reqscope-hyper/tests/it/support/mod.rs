mod client;
mod listener;
mod server;
mod serving;

pub(crate) use client::Client;
pub(crate) use listener::{InMemory, Step, too_many_files};
pub(crate) use server::{Answer, BoxError, Context, Event, Server, Setup, empty, full};
pub(crate) use serving::Serving;

use std::time::Duration;

/// Ends a test that would hang. Passing tests never wait for it, so it is long enough for a machine under load. It is
/// shorter than the 30 s after which the server closes a connection without requests, because such a close would make a
/// test pass whose connection should have been closed at once.
pub(crate) const BOUND: Duration = Duration::from_secs(25);
