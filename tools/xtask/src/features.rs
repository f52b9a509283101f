//! The sets of features that each crate is built with: none, each alone, all.
//!
//! All of them together are what every run over the workspace has; here are the others. Clippy compiles each set for its
//! package alone, so that no feature is on because a neighbour wants it. A feature adds items and changes no behaviour, so
//! tests run with all features and with none.

use std::collections::BTreeMap;
use std::fmt;

use cargo_metadata::Package;

use crate::cargo::Cargo;
use crate::servers;
use crate::tree::Tree;

/// A package with some of its features, but not with all of them.
pub(crate) struct Set {
    package: String,
    features: String,
}

/// The sets of those among the packages that have features.
pub(crate) fn matrix(packages: Vec<&Package>) -> Vec<Set> {
    packages.into_iter().flat_map(|package| sets(&package.name, &package.features)).collect()
}

/// Runs the tests of those among the packages that have features, with none of them.
pub(crate) fn test_without(tree: &Tree, packages: Vec<&Package>, servers: &servers::Options) -> anyhow::Result<()> {
    let with_features = packages.into_iter().filter(|package| !package.features.is_empty());
    let names: String = with_features.map(|package| format!(" --package {}", package.name)).collect();
    servers.on(Cargo::new(tree, format!("test --no-default-features --no-fail-fast{names}"))).run()
}

/// None, and each alone where that is not all of them.
fn sets(package: &str, features: &BTreeMap<String, Vec<String>>) -> Vec<Set> {
    let set = |features: &str| Set { package: package.to_owned(), features: features.to_owned() };
    let alone = features.keys().map(|feature| set(feature));
    match features.len() {
        0 => Vec::new(),
        1 => vec![set("")],
        _ => std::iter::once(set("")).chain(alone).collect(),
    }
}

impl Set {
    /// A cargo command, such as "test", over this package with these features.
    pub(crate) fn cargo(&self, tree: &Tree, command: &str) -> Cargo {
        let Set { package, features } = self;
        Cargo::new(tree, format!("{command} --package {package} --no-default-features --features={features}"))
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Set { package, features } = self;
        if features.is_empty() {
            write!(f, "{package} with no feature")
        } else {
            write!(f, "{package} with {features}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix_of(features: &[&str]) -> Vec<String> {
        let features = features.iter().map(|feature| (feature.to_string(), Vec::new())).collect();
        sets("core", &features).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn it_is_none_and_each_alone_and_leaves_all_to_the_workspace() {
        assert!(matrix_of(&[]).is_empty());
        assert_eq!(matrix_of(&["tracing"]), ["core with no feature"]);
        assert_eq!(matrix_of(&["axum", "tracing"]), ["core with no feature", "core with axum", "core with tracing"]);
    }
}
