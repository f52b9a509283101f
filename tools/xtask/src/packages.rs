//! Checks the crates as crates.io will have them: packaged, unpacked, and built from nothing but their packages.
//!
//! `cargo package` can verify packages itself, but with several crates at once it takes some of an earlier run out of
//! cargo's cache, because their version is the same, and builds today's hyper front end on last week's core.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::cargo::Cargo;
use crate::tree::Tree;

/// Fails if a crate cannot be packaged in publishing order, or does not build alone with its default features.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let packages = tree.published();
    let names: String = packages.iter().map(|package| format!(" --package {}", package.name)).collect();
    Cargo::new(tree, format!("package --allow-dirty --no-verify{names}")).run_quietly()?;

    let target = tree.metadata().target_directory.as_std_path();
    let folder = target.join("unpacked");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut manifest = String::from("[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n\n[patch.crates-io]\n");
    for package in &packages {
        let (name, stem) = (&package.name, format!("{}-{}", package.name, package.version));
        unpack(&target.join("package").join(format!("{stem}.crate")), &folder)?;
        manifest.push_str(&format!("{name} = {{ path = \"{stem}\" }}\n"));
    }
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::copy(tree.root().join("Cargo.lock"), folder.join("Cargo.lock"))?;

    let manifest = folder.join("Cargo.toml");
    for package in &packages {
        // One at a time, so that no crate relies on a feature that another one enables.
        let check = Cargo::new(tree, format!("check --package {}", package.name));
        check.argument("--manifest-path", &manifest).argument("--target-dir", target).run_quietly()?;
    }
    Ok(())
}

fn unpack(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    // With the current time (-m): cargo packs everything with one old date, and would see no change.
    let status = Command::new("tar").arg("-xzmf").arg(archive).arg("-C").arg(folder).status().context("tar")?;
    if !status.success() {
        bail!("cannot unpack {}", archive.display());
    }
    Ok(())
}
