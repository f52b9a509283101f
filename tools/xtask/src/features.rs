//! The sets of features that each crate is built with: none, each alone, all.
//!
//! Every run over the workspace has all of them; here are the others. cargo-hack compiles each set for its package
//! alone, so that no feature is on because another package enables it. A feature adds items and changes no behaviour,
//! so tests run with all features and with none.

use crate::cargo::Cargo;
use crate::tree::Tree;
use crate::{servers, tool};

/// The cargo-hack that is installed where there is none.
const VERSION: &str = "0.6.46";

/// Lints each package with no feature, and with each of its features alone.
pub(crate) fn lint(tree: &Tree) -> anyhow::Result<()> {
    tool::find_or_install(tree, "hack", VERSION)?;
    Cargo::new(tree, "hack clippy --workspace --each-feature --exclude-all-features --all-targets -- -D warnings")
        .run_quietly()
}

/// Runs the tests of the published crates that have features, with none of them. Those with a server run once, with all
/// features.
pub(crate) fn test_without(tree: &Tree) -> anyhow::Result<()> {
    let packages = tree.published().into_iter().filter(|package| !package.features.is_empty());
    let names: String = packages.map(|package| format!(" --package {}", package.name)).collect();
    servers::without(Cargo::new(tree, format!("test --no-default-features --no-fail-fast{names}"))).run()
}
