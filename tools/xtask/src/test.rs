//! `cargo xtask test`: the tests of the workspace, with all features.
//!
//! Some need a database server. The first step installs what is missing, if it may. Otherwise it fails and names what
//! is missing, and the switch `--no-servers`, which leaves these tests out. Tests that need another build are in
//! `check.rs`.

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tree::Tree;
use crate::{namespace, servers};

/// Runs all test steps.
pub(crate) fn run(tree: &Tree, servers: &servers::Options, report: &mut Report) {
    match servers.left_out() {
        Some(left_out) => report.remark(left_out),
        None => report.step("tests: the servers that they need", servers::ensure),
    }
    report.step("tests: the workspace, all features", || {
        servers.on(Cargo::new(tree, "test --workspace --all-features --no-fail-fast")).run()
    });
    if servers.left_out().is_none() {
        namespace::run(tree, report);
    }
    report.step("tests: inside of the examples", || {
        servers.on(Cargo::new(tree, "test --workspace --all-features --no-fail-fast --examples")).run()
    });
}
