//! The public items of a crate, as rustdoc's JSON.
//!
//! Its format is not stable yet. So it is read loosely, and a crate in which nothing is found fails, because that is
//! what a changed format would look like.

use std::fs;

use anyhow::Context;
use cargo_metadata::Package;
use serde_json::Value;

use crate::cargo::Cargo;
use crate::tree::Tree;

/// Builds the JSON of a crate, with all its features.
pub(crate) fn json(tree: &Tree, package: &Package) -> anyhow::Result<Value> {
    // Build scripts read `RUSTC_BOOTSTRAP` too: in the common folder each change of it would rebuild half of the
    // dependencies.
    let target = tree.metadata().target_directory.join("rustdoc");
    // The format needs an unstable option, which the stable rustdoc accepts only with this variable.
    Cargo::new(tree, format!("rustdoc --package {} --lib --all-features", package.name))
        .argument("--target-dir", target.as_std_path())
        // The cfg of docs.rs, where pages are built with unstable features.
        .flags("RUSTDOCFLAGS", "--cfg docsrs -Z unstable-options --output-format json")
        .flags("RUSTC_BOOTSTRAP", "1")
        .run_quietly()?;
    let file = target.join("doc").join(package.name.replace('-', "_")).with_extension("json");
    let text = fs::read_to_string(&file).with_context(|| file.to_string())?;
    serde_json::from_str(&text).with_context(|| file.to_string())
}

/// Returns the message for a missing part of the JSON.
pub(crate) fn changed(package: &Package) -> String {
    format!("{}: the format of rustdoc's JSON has changed", package.name)
}
