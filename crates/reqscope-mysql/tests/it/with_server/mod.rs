//! Against a private MariaDB.

mod cut;
mod driver;
mod laws;
mod operations;
mod session;
mod support;
mod transaction;
