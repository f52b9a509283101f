//! Tests of the portable twins that Linux-only code has. A private cfg enables them.

use crate::cargo::Cargo;
use crate::servers;
use crate::tree::Tree;

/// The private cfg.
const CFG: &str = "reqscope_portable";

/// Runs the tests of the crates that have twins, with the twins enabled.
pub(crate) fn test(tree: &Tree, servers: &servers::Options) -> anyhow::Result<()> {
    let packages: String = packages(tree)?.iter().map(|name| format!(" --package {name}")).collect();
    let tests = Cargo::new(tree, format!("test --all-features --no-fail-fast{packages}"))
        // A cfg in RUSTFLAGS would rebuild every dependency.
        .variable("RUSTC_WORKSPACE_WRAPPER", tree.root().join("tools/xtask/portable.sh"))
        .flags("RUSTDOCFLAGS", &format!("--cfg {CFG}"));
    servers.on(tests).run()
}

/// Returns the crates whose source contains the cfg.
fn packages(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let mut portable = Vec::new();
    for package in tree.published() {
        let folder = package.manifest_path.parent().expect("a manifest lies in a folder").as_std_path();
        for file in tree.files("rs").filter(|file| tree.root().join(file).starts_with(folder.join("src"))) {
            if tree.read(file)?.contains(CFG) {
                portable.push(package.name.to_string());
                break;
            }
        }
    }
    anyhow::ensure!(!portable.is_empty(), "no crate has {CFG} in its source");
    Ok(portable)
}
