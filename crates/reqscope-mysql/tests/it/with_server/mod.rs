//! Against a private MariaDB.

mod laws;
mod session;
mod support;
