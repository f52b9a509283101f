//! Tests that need a server. `cargo xtask test --no-servers` skips them by the name of this module.

mod cleanup;
mod faults;
mod restart;
mod start;
