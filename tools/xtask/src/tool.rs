//! Cargo subcommands from crates.io.

use crate::cargo::Cargo;
use crate::tree::Tree;

/// Installs `cargo-{name}` in this version, unless some version of it is installed.
pub(crate) fn find_or_install(tree: &Tree, name: &str, version: &str) -> anyhow::Result<()> {
    if Cargo::new(tree, format!("{name} --version")).succeeds() {
        return Ok(());
    }
    println!("installing cargo-{name} {version}");
    Cargo::new(tree, format!("install cargo-{name} --locked --version {version}")).run_quietly()
}
