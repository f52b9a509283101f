//! Tests for request-scoped resources.
//!
//! - [`Probe`] is a resource that counts: what was acquired, released and with which exit, dropped without a
//!   release, released twice, used after its release. Each of its verbs goes through a
//! - [`Gate`], where a test says what the next calls will do ([`Outcome`]: pass, fail, wait, hang, panic) and lets
//!   them through by hand.
//! - [`Ledger`] balances the books of a test by source location, and fails it where something is missing.
//! - [`laws`](fn@laws) runs any resource under the laws, cancelling it at every await in turn.
//! - [`quiet_panic`] and [`expect_panic`] are for panics that belong to a test: nothing of them is printed.
//! - [`poll_once`], [`poll_n`], [`cancel_at`], [`Wakes`] and [`until`] poll by hand, cancel at a chosen await, and
//!   wait without sleeping.
#![cfg_attr(
    feature = "proxy",
    doc = "- [`FaultProxy`] breaks TCP connections by [`Script`], as networks and servers do."
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
pub use laws::{Breach, Law, Report, judge, laws, run_laws};
pub use ledger::{Balance, Entry, Ledger};
pub use outcome::{Outcome, Scripted};
pub use panics::{expect_panic, quiet_panic};
pub use poll::{Wakes, cancel_at, poll_n, poll_once};
pub use probe::{Probe, ProbeHandle, Verb};
pub use records::{Counts, HandleState, Record, Release};
#[cfg(all(feature = "servers", unix))]
pub use servers::{MariaDb, MariaDbBuilder, ServerError};
pub use until::until;

// It shows the features, too.
#[cfg(all(doctest, feature = "proxy", feature = "servers", unix))]
#[doc = include_str!("../README.md")]
struct Readme;
