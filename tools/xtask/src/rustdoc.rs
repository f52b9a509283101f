//! What a crate shows, as rustdoc tells it.
//!
//! rustdoc tells it as JSON, whose format is not stable yet. So it is read loosely, and a crate in which nothing at all is
//! found fails: that is how a changed format would look.

use std::fs;

use anyhow::Context;
use cargo_metadata::Package;
use serde_json::Value;

use crate::cargo::Cargo;
use crate::tree::Tree;

/// Builds the JSON of a crate, with all its features.
pub(crate) fn json(tree: &Tree, package: &Package) -> anyhow::Result<Value> {
    // Build scripts look at `RUSTC_BOOTSTRAP` too: in the common folder each change of it would build half the
    // dependencies anew.
    let target = tree.metadata().target_directory.join("rustdoc");
    // The format is behind an unstable option, which a stable rustdoc takes only so.
    Cargo::new(tree, format!("rustdoc --package {} --lib --all-features", package.name))
        .argument("--target-dir", target.as_std_path())
        // With the cfg of docs.rs, whose pages are built with unstable features, too.
        .flags("RUSTDOCFLAGS", "--cfg docsrs -Z unstable-options --output-format json")
        .flags("RUSTC_BOOTSTRAP", "1")
        .run_quietly()?;
    let file = target.join("doc").join(package.name.replace('-', "_")).with_extension("json");
    let text = fs::read_to_string(&file).with_context(|| file.to_string())?;
    serde_json::from_str(&text).with_context(|| file.to_string())
}

/// What to say where something that is always there is missing.
pub(crate) fn changed(package: &Package) -> String {
    format!("{}: rustdoc's JSON is not as it was", package.name)
}
