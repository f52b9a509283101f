//! MySQL and MariaDB for [`reqscope`]: connections that cannot lie after a cancel, and transactions that end with their
//! request.
//!
//! - [`MySql`] is the resource: connections to one server, made by [`mysql_async`]. Its handle is
//! - [`MySqlConn`], on which you call what you know from [`Queryable`](mysql_async::prelude::Queryable), and which knows
//!   when an operation was cut.
//! - [`Transaction`] goes around it, bare or pooled: begun on first use, committed or rolled back when the request has
//!   ended. [`Savepoint`] is a transaction within one.
//! - [`MySqlError`] is the cause of both.
//!
//! What hangs up is stopped on the server: a cut statement is killed through a connection that is kept for that, and only
//! then is its slot in the pool free again.
//!
//! The driver is exported under its own name, [`mysql_async`].
//!
//! # Features
//!
//! - `tls`: TLS by rustls with ring. Off by default.
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order; each knows only those above it.
mod error;
mod url;
mod settings;
mod server;
mod connect;
mod control;
mod session;
mod text;
mod prepared;
mod conn;
mod queryable;
mod savepoint;
mod mysql;
mod builder;
mod begin;
mod commit;
mod transaction;
mod retry;

pub use mysql_async;

pub use builder::MySqlBuilder;
pub use conn::MySqlConn;
pub use error::MySqlError;
pub use mysql::MySql;
pub use retry::TryAgain;
pub use savepoint::Savepoint;
pub use transaction::{OpenTransaction, Transaction};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
