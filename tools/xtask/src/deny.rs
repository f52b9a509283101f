//! Licences, banned crates and sources of all dependencies, by cargo-deny.
//!
//! Advisories change without a commit, so a scheduled job asks for them.

use crate::cargo::Cargo;
use crate::tool;
use crate::tree::{APART, Tree};

/// The cargo-deny that is installed where there is none.
const VERSION: &str = "0.20.2";

/// Fails if a dependency of any workspace breaks a rule of deny.toml.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    tool::find_or_install(tree, "deny", VERSION)?;
    let workspaces = std::iter::once("Cargo.toml".to_owned());
    for manifest in workspaces.chain(APART.map(|folder| format!("{folder}/Cargo.toml"))) {
        let options = format!("--locked --manifest-path {manifest} --config deny.toml");
        Cargo::new(tree, format!("deny {options} check licenses bans sources")).run_quietly()?;
    }
    Ok(())
}
