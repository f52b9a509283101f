//! The building blocks that the database adapters of [`reqscope`] share. Applications use an adapter, which re-exports
//! what they need from here.
//!
//! - [`Flight`] records which operations of a connection are in flight or were cut, and limits their time.
//! - [`Transaction`] and [`ReadOnly`] are the resources of transactions, around any resource of connections that
//!   implement [`Transact`]. [`Attempts`] run one again that failed because of a concurrent one.
//! - [`Savepoint`] is a transaction within a transaction.
//! - [`dial`] tries all addresses of a name under one deadline.
#![cfg_attr(docsrs, feature(doc_cfg))]

// In reading order; each module imports only from those above it.
mod dial;
mod flight;
mod connection;
mod savepoint;
mod transaction;
mod attempts;

pub use attempts::{Attempt, Attempts, is_try_again};
pub use connection::{Access, CommitError, Connections, Gate, HasConnection, NoGate, Permit, Transact};
pub use dial::{Cause, DialError, dial, dial_addresses};
pub use flight::{Flight, Mark, Overdue, Run};
pub use savepoint::{Savepoint, SavepointStack, Savepoints};
pub use transaction::{OpenTransaction, ReadOnly, Transaction};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
