//! MySQL and MariaDB for [`reqscope`]: connections that never return another query's answer after a cancellation, and
//! transactions that end with their request.
//!
//! - [`MySql`] is the resource: connections to one server, made by [`mysql_async`].
//! - [`MySqlConn`] is its handle. It implements the driver's [`Queryable`](mysql_async::prelude::Queryable) and records
//!   when an operation was cut.
//! - [`Transaction`] wraps it, bare or pooled: it begins on first use and is committed or rolled back when the request
//!   ends. [`Savepoint`] is a transaction within a transaction.
//! - [`MySqlError`] is the cause of both.
//!
//! When a client disconnects, its statement is stopped on the server: it is killed through a control connection kept
//! for this purpose, and only then does its slot in the pool become free.
//!
//! The driver is re-exported as [`mysql_async`].
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
