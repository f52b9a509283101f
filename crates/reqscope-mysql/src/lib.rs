//! MySQL and MariaDB for [`reqscope`]: connections that never return another query's answer after a cancellation, and
//! transactions that end with their request.
//!
//! - [`MySql`] is the resource: connections to one server, made by [`mysql_async`].
//! - [`MySqlConn`] is its handle. It implements the driver's [`Queryable`](mysql_async::prelude::Queryable) and records
//!   when an operation was cut.
//! - [`Transaction`] wraps it, bare or pooled: it begins on first use and is committed or rolled back when the request
//!   ends. [`ReadOnly`] is one that only
//!   reads, and [`Savepoint`] a transaction within a transaction.
//! - [`MySqlError`] is the cause of both.
//!
//! When a client disconnects, its statement is stopped on the server: it is killed through a control connection kept
//! for this purpose, and only then does its slot in the pool become free.
//!
//! The driver is re-exported as [`mysql_async`].
//!
//! # Transactions
//!
//! Besides those with a cut operation, a [`Transaction`] that has ended early cannot be committed: the server rolls back
//! the whole transaction after a deadlock, and statements such as CREATE TABLE or a COMMIT sent as text end it. The
//! statements that follow would silently be committed one by one, so the handle refuses them with
//! [`NotOpen`](MySqlError::NotOpen), and `Completed` becomes an error. To detect this, the handle pings the server after
//! each error that the server returned, and after a [`QueryResult`](mysql_async::QueryResult) or a stream.
//!
//! A BEGIN or a COMMIT AND CHAIN sent as text leaves another transaction open in its place, which no answer of the server
//! shows. This is detected at the end: before the COMMIT, a savepoint that was set at the beginning is released, and if it
//! is gone, `Completed` becomes the same error.
//!
//! A COMMIT without an answer is [`UnknownOutcome`](MySqlError::UnknownOutcome). [`TransactionExt`] sets the isolation
//! level and the timeout of the COMMIT. A write in a [`ReadOnly`] transaction fails (1792).
//!
//! # Features
//!
//! - `tls`: TLS by rustls with ring. Off by default.
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order; each module imports only from those above it.
mod error;
mod settings;
mod server;
mod connect;
mod control;
mod fault;
mod session;
mod text;
mod prepared;
mod conn;
mod queryable;
mod mysql;
mod builder;
mod transaction;

pub use mysql_async;

pub use builder::MySqlBuilder;
pub use conn::MySqlConn;
pub use error::MySqlError;
pub use mysql::MySql;
#[doc(inline)]
pub use reqscope_driver::{
    Attempt, Attempts, Connections, HasConnection, OpenTransaction, ReadOnly, Savepoint, Transaction,
};
pub use transaction::{TransactionExt, TransactionOptions};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
