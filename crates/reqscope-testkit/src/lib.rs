//! A test kit for request-scoped resources.
//!
//! - [`Probe`] is a resource that counts acquisitions, releases and their exits, drops without a release, double
//!   releases, and uses after the release.
//! - [`Gate`] stops the calls of a probe's method until the test decides how they end ([`Outcome`]: succeed, fail,
//!   wait, hang, panic).
//! - [`Ledger`] fails the test if an acquisition is neither released nor abandoned, and names the line that acquired.
//! - [`drained`] ends a test of handlers: it waits until nothing is open, and fails with what is left, or with the work
//!   in the background that has failed.
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
//!
//! # Tests of handlers
//!
//! A handler needs no socket to be tested. Send a request into the router, read the response, then drain the scopes: a
//! handle that the handler has leaked, or keeps in a task, fails the test here.
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::Router;
//! use axum::body::{Body, to_bytes};
//! use axum::http::{Request, StatusCode};
//! use axum::routing::post;
//! use reqscope::{Exit, Scopes};
//! use reqscope_testkit::{Ledger, Probe};
//! use reqscope_tower::{ScopeLayer, ScopeError, Scoped};
//! use tower::ServiceExt;
//!
//! async fn order(Scoped(db): Scoped<Probe>) -> Result<&'static str, ScopeError> {
//!     db.get().await?.use_once();
//!     Ok("ordered")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // The app as in production, on a database of the test's own; here a `Probe`, which counts.
//! let (ledger, db) = (Ledger::new(), Arc::new(Probe::new().settling()));
//! let scopes = Scopes::builder().observer(ledger.observer()).build();
//! let app = Router::new().route("/orders", post(order)).with_state(db.clone()).layer(ScopeLayer::new(&scopes));
//!
//! let request = Request::post("/orders").body(Body::empty()).unwrap();
//! let response = app.clone().oneshot(request).await.unwrap();
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(to_bytes(response.into_body(), usize::MAX).await.unwrap(), "ordered");
//!
//! ledger.drained(&scopes).await; // or `drained(&scopes)`, without the lines that acquired
//! assert_eq!(db.releases()[0].exit, Exit::Completed);
//! # }
//! ```
//!
//! - Read the body or drop it before the drain: a streamed body may hold a handle.
//! - A client that disconnects is a future that is dropped: `cancel_at(3, app.oneshot(request))` drops the request at
//!   its third await. Then look into the database for what must not be there.
//! - Work after the commit ([`on_completed`](reqscope::ScopeHandle::on_completed)) is awaited by the drain, so check for
//!   its mail or event after it. If that work panics or times out, the drain fails the test.
//! - A database on threads or servers of its own needs the real clock: a paused clock lets the drain's time pass while
//!   they work.
#![cfg_attr(docsrs, feature(doc_cfg))]
mod records;
mod gate;
mod laws;
mod outcome;
mod panics;
mod poll;
mod probe;
mod until;
mod drained;
mod ledger;
#[cfg(feature = "proxy")]
mod fault_proxy;
#[cfg(all(feature = "servers", unix))]
mod servers;

pub use drained::drained;
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
