//! `cargo xtask test`: every test there is.
//!
//! Some need a database server. The first step installs what is missing where it may, else it fails and names that and
//! `--no-servers`, the switch that leaves those tests out on purpose.

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tree::Tree;
use crate::{compare, features, namespace, servers};

/// Linux-only code has a portable twin, which this flag switches on.
const PORTABLE: &str = "reqscope_portable";

/// Runs all test steps.
pub(crate) fn run(tree: &Tree, servers: &servers::Options, report: &mut Report) -> anyhow::Result<()> {
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
    for set in features::matrix(tree.published()) {
        report.step(format!("tests: {set}"), || servers.on(set.cargo(tree, "test")).run());
    }
    let portable = portable_packages(tree)?;
    if !portable.is_empty() {
        report.step(format!("tests: the portable fallbacks of {}", portable.join(", ")), || {
            let packages: String = portable.iter().map(|name| format!(" --package {name}")).collect();
            // The flag rebuilds every dependency too, so it gets a target folder of its own. Clippy never sees these
            // twins, so their warnings count here.
            let target = tree.metadata().target_directory.join("portable");
            let tests = Cargo::new(tree, format!("test --all-features --no-fail-fast{packages}"))
                .argument("--target-dir", target.as_std_path())
                .flags("RUSTFLAGS", &format!("--cfg {PORTABLE} -D warnings"))
                .flags("RUSTDOCFLAGS", &format!("--cfg {PORTABLE}"));
            servers.on(tests).run()
        });
    }
    report.step("tests: what judges the contenders, and that each of its scripts can fail", || compare::test(tree));
    Ok(())
}

/// The crates that have a portable twin of something, found by the flag in their source.
fn portable_packages(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let mut portable = Vec::new();
    for package in tree.members().into_iter().filter(|package| package.name.as_str() != "xtask") {
        let folder = package.manifest_path.parent().expect("a manifest lies in a folder").as_std_path();
        for file in tree.files("rs").filter(|file| tree.root().join(file).starts_with(folder.join("src"))) {
            if tree.read(file)?.contains(PORTABLE) {
                portable.push(package.name.to_string());
                break;
            }
        }
    }
    Ok(portable)
}
