//! Tests that need a server: `cargo xtask test --no-servers` knows them by the name of this module.

mod life;
