//! Checks the README's install lines and first example as a user would paste them, in a new project outside of the
//! workspace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cargo::Cargo;
use crate::tree::Tree;

/// Fails if the project does not compile.
///
/// The dependencies on the git repository become paths into this checkout. Nothing is fetched (`--offline`): the
/// packages of the workspace's lock file are enough.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<()> {
    let readme = tree.read(Path::new("README.md"))?;
    let project = Project::create()?;
    fs::write(project.0.join("Cargo.toml"), manifest(tree, &readme)?)?;
    fs::write(project.0.join("src/main.rs"), block(&readme, "rust,no_run")?)?;
    fs::copy(tree.root().join("Cargo.lock"), project.0.join("Cargo.lock"))?;
    // A target folder that stays, so that only the first run compiles the dependencies.
    Cargo::new(tree, "check --offline")
        .argument("--manifest-path", project.0.join("Cargo.toml"))
        .argument("--target-dir", tree.metadata().target_directory.join("readme"))
        .run_quietly()
}

/// Returns a manifest with the README's `[dependencies]`, in which paths into this checkout replace the git repository.
fn manifest(tree: &Tree, readme: &str) -> anyhow::Result<String> {
    let mut dependencies = block(readme, "toml")?.to_owned();
    for package in tree.published() {
        let repository = package.repository.as_deref().context("a published crate names its repository")?;
        let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
        let git = format!("\n{} = {{ git = {repository:?}", package.name);
        dependencies = dependencies.replace(&git, &format!("\n{} = {{ path = {:?}", package.name, folder.as_str()));
    }
    // Cargo's own `[patch]` asks the repository all the same.
    Ok(format!("[package]\nname = \"newcomer\"\nedition = \"2024\"\n\n{dependencies}"))
}

/// Returns the first fenced block of the document with this info string.
fn block<'a>(document: &'a str, info: &str) -> anyhow::Result<&'a str> {
    let fence = format!("\n```{info}\n");
    let (_, rest) = document.split_once(&fence).with_context(|| format!("README.md has no ```{info} block"))?;
    let (block, _) = rest.split_once("```\n").context("a block of README.md does not end")?;
    Ok(block)
}

/// An empty package in the system's folder for temporary files, deleted when it is dropped.
struct Project(PathBuf);

impl Project {
    fn create() -> anyhow::Result<Project> {
        let folder = std::env::temp_dir().join(format!("reqscope-readme-{}", std::process::id()));
        fs::create_dir_all(folder.join("src")).with_context(|| folder.display().to_string())?;
        Ok(Project(folder))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot delete {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A\n\n```toml\na = 1\n```\n\n```toml\nb = 2\n```\n";

    #[test]
    fn first_block_of_a_kind_is_found() {
        assert_eq!(block(DOCUMENT, "toml").unwrap(), "a = 1\n");
    }

    #[test]
    fn document_without_such_a_block_is_refused() {
        assert!(block(DOCUMENT, "rust,no_run").is_err());
    }
}
