//! SQLite for [`reqscope`]: connections on threads of their own, and transactions whose writers queue.
//!
//! - [`Sqlite`] is the resource: a database file, opened in WAL mode. Its handle is
//! - [`SqliteConn`], which runs closures on the connection's thread and knows when one was cut.
//! - [`Transaction`] goes around it: begun on first use, committed or rolled back when the request has ended.
//! - [`SqliteError`] is the cause of both.
//!
//! What hangs up is stopped: a statement is interrupted, a wait for a lock ends, a transaction is rolled back, and only
//! then does the next writer get its turn.
//!
//! The driver is [`rusqlite`], with SQLite built in, and is exported under that name.
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order; each knows only those above it.
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
pub use sqlite::{Sqlite, SqliteBuilder};
pub use transaction::{OpenTransaction, Transaction};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
