//! A test kit for request-scoped resources.
//!
//! - [`Probe`] is a resource that counts acquisitions, releases and their exits, drops without a release, double
//!   releases, and uses after the release.
//! - [`Gate`] stops the calls of a probe's method until the test decides how they end ([`Outcome`]: succeed, fail,
//!   wait, hang, panic).
//! - [`Ledger`] fails the test if an acquisition is neither released nor abandoned, and names the line that acquired.
//! - [`laws`](fn@laws) runs any resource through a suite that cancels each future at every await in turn.
//! - [`poll_once`], [`poll_n`], [`cancel_at`], [`Wakes`] and [`until`] poll futures by hand, cancel them at a chosen
//!   await, and wait without sleeping.
//! - [`quiet_panic`] and [`expect_panic`] are for panics that a test expects: their messages are not printed.
#![cfg_attr(
    feature = "proxy",
    doc = "- [`FaultProxy`] is a TCP proxy that breaks connections by [`Script`], as networks and servers do."
)]
#![cfg_attr(
    all(feature = "servers", unix),
    doc = "- [`MariaDb`] is a private database server that can be stopped, killed, frozen and restarted."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
mod records;
mod gate;
mod laws;
mod ledger;
mod outcome;
mod panics;
mod poll;
mod probe;
mod until;
#[cfg(feature = "proxy")]
mod fault_proxy;
#[cfg(all(feature = "servers", unix))]
mod servers;

#[cfg(feature = "proxy")]
pub use fault_proxy::{Connections, Direction, FaultProxy, Script, Traffic};
pub use gate::Gate;
pub use laws::{Breach, Law, Laws, Report, laws, run_laws};
pub use ledger::{Balance, Entry, Ledger};
pub use outcome::{Outcome, Scripted};
pub use panics::{expect_panic, quiet_panic};
pub use poll::{Wakes, cancel_at, poll_n, poll_once};
pub use probe::{Probe, ProbeHandle, Verb};
pub use records::{Counts, HandleState, Record, Release};
#[cfg(all(feature = "servers", unix))]
pub use servers::{MariaDb, MariaDbBuilder, ServerError};
pub use until::until;

// Includes the examples that need features.
#[cfg(all(doctest, feature = "proxy", feature = "servers", unix))]
#[doc = include_str!("../README.md")]
struct Readme;
