//! SQLite for [`reqscope`]: connections on threads of their own, and transactions whose writers queue.
//!
//! - [`Sqlite`] is the resource: connections to one database file, in WAL mode.
//! - [`SqliteConn`] is its handle. It runs closures on the connection's thread and records when one was cut.
//! - [`Transaction`] wraps it, bare or pooled: it begins on first use and is committed or rolled back when the request
//!   ends. [`ReadOnly`] is one that only reads.
//! - [`SqliteError`] is the cause of both.
//!
//! When a client disconnects, its statement is interrupted or its wait for a lock ends, its transaction is rolled back,
//! and only then does the next writer get its turn.
//!
//! The driver is re-exported as [`rusqlite`], with SQLite built in.
//!
//! # Writers queue
//!
//! SQLite has one writer at a time. A [`Transaction`] waits for its turn in a FIFO queue *before* it takes a connection,
//! and begins with `BEGIN IMMEDIATE`. So a waiting writer costs neither a connection nor a thread, and no writer fails
//! with `SQLITE_BUSY` because of another one in this process. There is one queue per database file, however many resources
//! use the file. The next writer's turn begins when the transaction before it has ended; if a client disconnects, that is
//! when the rollback is done, not when the client has left.
//!
//! The BEGIN travels with the first call, because a hop to the thread of the connection takes longer. It fails there with
//! `SQLITE_BUSY` if another process writes for too long.
//!
//! Create one `Transaction` per database and share it: a new one first has to acquire a connection to find its queue. Do
//! not acquire two writing transactions of one database in one scope: they would wait for each other until the deadline.
//!
//! A writer waits for its turn until its acquisition times out
//! ([`acquire_timeout`](reqscope::scope::ScopesBuilder::acquire_timeout), 60 s by default), or until the deadline of its
//! request. The error says how long it has waited, and which request has the turn: its label, how long it has had it, and
//! the line of code that began its transaction. Under [`ResourceExt::timeout`](reqscope::ResourceExt::timeout), whose
//! timeout the transaction does not know, the error names neither.
//!
//! # Readers do not wait
//!
//! A transaction of [`ReadOnly`] sees the database as of its first read until it ends, whatever is written meanwhile. It
//! waits for no writer, and no writer waits for it. A write in it fails.
//!
//! # No partial commits
//!
//! A transaction cannot be committed after a statement was cut by a timeout, after a closure panicked, or after SQLite
//! rolled it back by itself (a full disk). The handle refuses further work, and `Completed` becomes an error. A `COMMIT` in
//! a closure is turned into a rollback, and returns "constraint failed" with the extended code 531
//! (`SQLITE_CONSTRAINT_COMMITHOOK`).
//!
//! ```
//! use reqscope::{Exit, Pool, Scopes};
//! use reqscope_sqlite::{ReadOnly, Sqlite, SqliteConn, SqliteError, Transaction};
//! use std::sync::Arc;
//!
//! async fn hit(db: &mut SqliteConn) -> Result<usize, SqliteError> {
//!     db.call(|db| db.execute("INSERT INTO hits VALUES ('/')", ())).await
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!
//! let table = "CREATE TABLE IF NOT EXISTS hits (path TEXT NOT NULL)";
//! let sqlite = Sqlite::builder().on_open(move |db| db.execute_batch(table)).build_temporary()?;
//! let pool = Arc::new(Pool::builder().max_size(10).build(sqlite));
//! let writing = Arc::new(Transaction::new(pool.clone()));
//! let reading = Arc::new(ReadOnly::new(pool));
//!
//! let scopes = Scopes::new();
//! for exit in [Exit::Completed, Exit::Failed] {
//!     let scope = scopes.open();
//!     hit(&mut *scope.lazy(&writing).get().await?).await?;
//!     scope.close(exit).await?; // COMMIT, then ROLLBACK
//! }
//!
//! let scope = scopes.open();
//! let mut tx = scope.lazy(&reading).get().await?;
//! let hits: i64 = tx.call(|db| db.query_row("SELECT count(*) FROM hits", (), |row| row.get(0))).await?;
//! assert_eq!(hits, 1);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order; each module imports only from those above it.
mod error;
mod database;
mod signal;
mod open;
mod reply;
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
