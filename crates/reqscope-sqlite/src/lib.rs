//! SQLite for [`reqscope`]: connections on threads of their own, and transactions whose writers queue.
//!
//! - [`Sqlite`] is the resource: connections to one database file, in WAL mode.
//! - [`SqliteConn`] is its handle. It runs closures on the connection's thread and records when one was cut.
//! - [`Transaction`] wraps it, bare or pooled: it begins on first use and is committed or rolled back when the request
//!   ends.
//! - [`SqliteError`] is the cause of both.
//!
//! When a client disconnects, its statement is interrupted or its wait for a lock ends, its transaction is rolled back,
//! and only then does the next writer get its turn.
//!
//! The driver is re-exported as [`rusqlite`], with SQLite built in.
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order; each module imports only from those above it.
mod error;
mod database;
mod signal;
mod open;
mod worker;
mod conn;
mod sqlite;
mod transaction;

pub use rusqlite;

pub use conn::SqliteConn;
pub use error::SqliteError;
#[doc(inline)]
pub use reqscope_driver::{Connections, HasConnection, OpenTransaction, ReadOnly, Transaction};
pub use sqlite::{Sqlite, SqliteBuilder};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
