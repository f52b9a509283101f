//! Against a private MariaDB.

mod cut;
mod driver;
mod faults;
mod hang_up;
mod laws;
mod operations;
mod session;
mod support;
mod transaction;
mod unknown;
