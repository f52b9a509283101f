//! Tests that need a server: `cargo xtask test --no-servers` knows them by the name of this module.

mod end;
mod faults;
mod life;
mod start;
