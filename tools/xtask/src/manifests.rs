//! Checks what crates.io and docs.rs show of a crate.

use cargo_metadata::Package;

use crate::report::none_of;
use crate::tree::Tree;

/// Fails for each published crate that lacks metadata or a file that its page shows.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    none_of(tree.published().into_iter().flat_map(missing).collect())
}

fn missing(package: &Package) -> Vec<String> {
    let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
    let mut wants = vec![
        ("a description", package.description.is_some()),
        ("a licence", package.license.is_some()),
        ("a repository", package.repository.is_some()),
        ("a rust-version", package.rust_version.is_some()),
        ("keywords", !package.keywords.is_empty()),
        ("categories", !package.categories.is_empty()),
        ("[package.metadata.docs.rs]", !package.metadata["docs"]["rs"].is_null()),
    ];
    // The licences must be part of every copy; a link to the file in the root is packaged as the file.
    let files = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];
    wants.extend(files.map(|file| (file, folder.join(file).is_file())));
    let absent = wants.into_iter().filter(|(_, present)| !present);
    absent.map(|(what, _)| format!("{}: has no {what}", package.name)).collect()
}
