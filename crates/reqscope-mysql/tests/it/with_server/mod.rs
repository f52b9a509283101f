//! Tests against a private MariaDB.

mod retry;
mod cut;
mod driver;
mod ended;
mod fault;
mod faults;
mod hang_up;
mod laws;
mod limits;
mod locations;
mod namespace;
mod network;
mod operations;
mod packets;
mod readonly;
mod recovery;
mod savepoint;
mod secrets;
mod session;
mod sleep;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod transaction;
mod unknown_outcome;
