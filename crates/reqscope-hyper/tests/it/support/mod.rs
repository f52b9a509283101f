mod client;
mod listener;
mod server;
mod serving;

pub(crate) use client::Client;
pub(crate) use listener::{InMemory, Step, too_many_files};
pub(crate) use server::{Answer, Context, Event, Server, Setup, empty, full};
pub(crate) use serving::Serving;

use std::time::Duration;

/// Longer than anything here takes, and short enough to wait for once when something is broken.
pub(crate) const BOUND: Duration = Duration::from_secs(5);
