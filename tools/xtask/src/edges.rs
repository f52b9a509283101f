//! Checks which crate of the workspace depends on which.

use std::path::Path;

use cargo_metadata::{DependencyKind, Package};

use crate::architecture::DOCUMENT;
use crate::floors::Floors;
use crate::report::none_of;
use crate::tree::Tree;

/// Fails for each dependency between members that does not go to a line above in the list. Dev-dependencies are free.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let floors = Floors::parse(&tree.read(Path::new(DOCUMENT))?, "text crates")?;
    let members = tree.members();
    let mut findings = Vec::new();
    for name in floors.names().filter(|name| !members.iter().any(|member| member.name.as_str() == *name)) {
        findings.push(format!("{name}: stands in ARCHITECTURE.md, but there is no such crate"));
    }
    let (known, unknown): (Vec<&Package>, Vec<&Package>) =
        members.into_iter().partition(|member| floors.has(&member.name));
    findings.extend(unknown.iter().map(|member| format!("{}: has no floor in ARCHITECTURE.md", member.name)));
    for member in known {
        let compiled = member.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        for dependency in compiled.filter(|dependency| floors.has(&dependency.name)) {
            if !floors.may_import(&member.name, &dependency.name) {
                findings.push(format!("{}: must not depend on {}", member.name, dependency.name));
            }
        }
    }
    none_of(findings)
}
