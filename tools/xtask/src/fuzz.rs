//! `cargo xtask fuzz`: random operations on a scope and on a pool, steered by the code that they reach.
//!
//! What a run finds out about the ways through the code stays in the target folder and helps the next run. The corpus
//! in the tree is a small part of it, which the ordinary tests replay; only `--keep` changes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tool;
use crate::tree::Tree;

/// The cargo-fuzz that is installed where there is none.
const VERSION: &str = "0.13.2";

/// Without a sanitizer: there is no unsafe code to watch, and a stable compiler offers none.
const BUILD: &str = "--sanitizer none";

/// Longer sequences are slower and reach nothing new; one that takes 10 s hangs.
const LIMITS: &str = "-max_len=512 -timeout=10";

/// For how long, and what becomes of what was found.
#[derive(Args)]
pub(crate) struct Options {
    /// How many seconds each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Afterwards puts into the corpus what reaches new code, and takes out what something smaller reaches too.
    #[arg(long)]
    keep: bool,
}

/// Runs each target. A step fails if a sequence of operations broke something; the file that holds it is named.
pub(crate) fn run(tree: &Tree, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.step("fuzz: cargo-fuzz is there", || tool::find_or_install(tree, "fuzz", VERSION));
    for target in targets(tree)? {
        let places = Places::of(tree, &target);
        report.step(format!("fuzz: {target}, for {} s", options.seconds), || {
            fs::create_dir_all(&places.found)?;
            let before = files(&places.artifacts)?;
            let outcome = places
                .cargo(tree, "run")
                .path(&places.found)
                .path(&places.corpus)
                .words(&format!("-- {LIMITS} -max_total_time={}", options.seconds))
                .run();
            for artifact in files(&places.artifacts)?.difference(&before) {
                println!("found: {}", artifact.display());
            }
            outcome
        });
        if options.keep {
            report.step(format!("fuzz: the corpus of {target}"), || places.keep(tree));
        }
    }
    Ok(())
}

/// Clippy, which `--workspace` does not lead there.
pub(crate) fn lint(tree: &Tree) -> anyhow::Result<()> {
    // Nothing is linked, so libFuzzer itself, which wants a C++ compiler, is not built but said to be here.
    let unbuilt = target_folder(tree).join("libfuzzer.a");
    Cargo::new(tree, "clippy --quiet --locked --manifest-path fuzz/Cargo.toml")
        .argument("--target-dir", target_folder(tree))
        .words("-- -D warnings")
        .variable("CUSTOM_LIBFUZZER_PATH", unbuilt)
        .run_quietly()
}

/// Where the files of one target are.
struct Places {
    target: String,
    /// The corpus in the tree.
    corpus: PathBuf,
    /// What earlier runs found beyond that.
    found: PathBuf,
    /// Sequences that broke something.
    artifacts: PathBuf,
}

impl Places {
    fn of(tree: &Tree, target: &str) -> Places {
        let fuzz = tree.root().join("fuzz");
        Places {
            target: target.to_owned(),
            corpus: fuzz.join("corpus").join(target),
            found: target_folder(tree).join("corpus").join(target),
            artifacts: fuzz.join("artifacts").join(target),
        }
    }

    fn cargo(&self, tree: &Tree, verb: &str) -> Cargo {
        // The flags of the coverage rebuild every dependency, so they get a target folder of their own.
        Cargo::new(tree, format!("fuzz {verb} {} {BUILD}", self.target)).argument("--target-dir", target_folder(tree))
    }

    /// Counted by code reached, not by how often: that would be a thousand files.
    fn keep(&self, tree: &Tree) -> anyhow::Result<()> {
        for file in files(&self.found)? {
            let name = file.file_name().context("a file has a name")?;
            fs::copy(&file, self.corpus.join(name))?;
        }
        self.cargo(tree, "cmin").path(&self.corpus).words(&format!("-- {LIMITS} -use_counters=0")).run()
    }
}

fn target_folder(tree: &Tree) -> PathBuf {
    tree.metadata().target_directory.join("fuzz").into()
}

fn targets(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let fuzzer = tree.apart("fuzz")?;
    let programs = fuzzer.workspace_packages().into_iter().flat_map(|package| &package.targets);
    let names: Vec<String> = programs.filter(|target| target.is_bin()).map(|target| target.name.clone()).collect();
    if names.is_empty() {
        bail!("there is nothing to run in fuzz/Cargo.toml");
    }
    Ok(names)
}

/// The files of a folder that may not be there yet.
fn files(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    if !folder.exists() {
        return Ok(BTreeSet::new());
    }
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
