//! Checks `rust-version`, which is a promise to users: no dependency may need a newer compiler than the crate promises.
//!
//! Clippy's `incompatible_msrv` checks our own code; this checks the dependencies.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, Node, Package, PackageId};

use crate::report::none_of;
use crate::tree::Tree;

/// Fails for each dependency, direct or not, that needs a newer compiler than the published crate promises.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let resolve = tree.metadata().resolve.as_ref().context("cargo metadata resolved nothing")?;
    let nodes: HashMap<&PackageId, &Node> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut findings = Vec::new();
    for package in tree.published() {
        let Some(promised) = &package.rust_version else {
            findings.push(format!("{}: says no rust-version", package.name));
            continue;
        };
        for needed in closure(&package.id, &nodes).into_iter().map(|id| &tree.metadata()[id]) {
            findings.extend(judge(package, promised, needed));
        }
    }
    none_of(findings)
}

fn judge(package: &Package, promised: &Version, needed: &Package) -> Option<String> {
    let wanted = needed.rust_version.as_ref().filter(|wanted| *wanted > promised)?;
    Some(format!("{} says Rust {promised}, but {} {} wants {wanted}", package.name, needed.name, needed.version))
}

/// Returns everything that a user of the package compiles with it; dev-dependencies are not part of it.
fn closure<'a>(from: &'a PackageId, nodes: &HashMap<&'a PackageId, &'a Node>) -> HashSet<&'a PackageId> {
    let mut seen = HashSet::new();
    let mut ahead = vec![from];
    while let Some(id) = ahead.pop() {
        if seen.insert(id) {
            let deps = nodes[id].deps.iter();
            let compiled =
                deps.filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            ahead.extend(compiled.map(|dep| &dep.pkg));
        }
    }
    seen
}
