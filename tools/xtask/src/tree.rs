//! The files of the repository and what cargo knows about them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The folders that are workspaces of their own, which `--workspace` does not include.
pub(crate) const APART: [&str; 2] = ["fuzz", "tools/compare"];

/// The workspace: its packages, its files.
pub(crate) struct Tree {
    metadata: Metadata,
    files: Vec<PathBuf>,
}

impl Tree {
    /// Asks cargo and git. Files that git ignores are not part of the tree; new files that were not added yet are.
    pub(crate) fn load() -> anyhow::Result<Tree> {
        let metadata = MetadataCommand::new().exec().context("cargo metadata")?;
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&metadata.workspace_root)
            .output()
            .context("git ls-files")?;
        if !output.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
        let mut files: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
        files.retain(|file| metadata.workspace_root.as_std_path().join(file).is_file());
        files.sort();
        files.dedup();
        Ok(Tree { metadata, files })
    }

    /// Returns the folder of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// Returns everything that cargo resolved, members and dependencies.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the same for a folder that is a workspace of its own.
    pub(crate) fn apart(&self, folder: &str) -> anyhow::Result<Metadata> {
        let manifest = self.root().join(folder).join("Cargo.toml");
        MetadataCommand::new().manifest_path(manifest).exec().with_context(|| format!("cargo metadata of {folder}"))
    }

    /// Returns the members, in no particular order.
    pub(crate) fn members(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    /// Returns the members that are meant for crates.io.
    pub(crate) fn published(&self) -> Vec<&Package> {
        self.members().into_iter().filter(|package| package.publish.as_deref() != Some(&[])).collect()
    }

    /// Returns the files with this extension, relative to the root.
    pub(crate) fn files(&self, extension: &str) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path).filter(move |file| file.extension().is_some_and(|e| e == extension))
    }

    /// Reads a file, whose path is relative to the root.
    pub(crate) fn read(&self, file: &Path) -> anyhow::Result<String> {
        std::fs::read_to_string(self.root().join(file)).with_context(|| file.display().to_string())
    }
}
