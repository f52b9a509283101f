//! `cargo xtask fuzz`: random operations on a scope and on a pool, guided by coverage.
//!
//! The inputs that a run finds stay in the target folder and help the next run. The corpus in the repository is a small
//! part of them, which the ordinary tests replay; only `--keep` changes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tool;
use crate::tree::Tree;

/// The version of cargo-fuzz that is installed if there is none.
const VERSION: &str = "0.13.2";

/// No sanitizer: there is no unsafe code to watch, and the stable compiler has none.
const BUILD: &str = "--sanitizer none";

/// Longer sequences are slower and reach nothing new; a sequence that takes 10 s hangs.
const LIMITS: &str = "-max_len=512 -timeout=10";

/// How long to run, and what to do with the new inputs.
#[derive(Args)]
pub(crate) struct Options {
    /// How many seconds each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Adds the inputs that reach new code to the corpus, and removes those that a smaller input covers.
    #[arg(long)]
    keep: bool,
}

/// Runs each target. A step fails if a sequence of operations broke something, and names the file with the sequence.
pub(crate) fn run(tree: &Tree, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.step("fuzz: cargo-fuzz is there", || tool::find_or_install(tree, "fuzz", VERSION));
    for target in targets(tree)? {
        let paths = Paths::of(tree, &target);
        report.step(format!("fuzz: {target}, for {} s", options.seconds), || {
            fs::create_dir_all(&paths.found)?;
            let before = files(&paths.artifacts)?;
            let outcome = paths
                .cargo(tree, "run")
                .path(&paths.found)
                .path(&paths.corpus)
                .words(&format!("-- {LIMITS} -max_total_time={}", options.seconds))
                .run();
            for artifact in files(&paths.artifacts)?.difference(&before) {
                println!("found: {}", artifact.display());
            }
            outcome
        });
        if options.keep {
            report.step(format!("fuzz: the corpus of {target}"), || paths.keep(tree));
        }
    }
    Ok(())
}

/// Runs clippy, which `--workspace` does not do for this workspace of its own.
pub(crate) fn lint(tree: &Tree) -> anyhow::Result<()> {
    // Nothing is linked, so libFuzzer, which needs a C++ compiler, is not built: this path stands in for it.
    let unbuilt = target_folder(tree).join("libfuzzer.a");
    Cargo::new(tree, "clippy --quiet --locked --manifest-path fuzz/Cargo.toml")
        .argument("--target-dir", target_folder(tree))
        .words("-- -D warnings")
        .variable("CUSTOM_LIBFUZZER_PATH", unbuilt)
        .run_quietly()
}

/// The paths of one target.
struct Paths {
    target: String,
    /// The corpus in the repository.
    corpus: PathBuf,
    /// The inputs that earlier runs found beyond the corpus.
    found: PathBuf,
    /// The sequences that broke something.
    artifacts: PathBuf,
}

impl Paths {
    fn of(tree: &Tree, target: &str) -> Paths {
        let fuzz = tree.root().join("fuzz");
        Paths {
            target: target.to_owned(),
            corpus: fuzz.join("corpus").join(target),
            found: target_folder(tree).join("corpus").join(target),
            artifacts: fuzz.join("artifacts").join(target),
        }
    }

    fn cargo(&self, tree: &Tree, verb: &str) -> Cargo {
        // The flags for coverage rebuild every dependency, so the fuzzer has a target folder of its own.
        Cargo::new(tree, format!("fuzz {verb} {} {BUILD}", self.target)).argument("--target-dir", target_folder(tree))
    }

    /// Adds new inputs to the corpus and minimizes it by the code that is reached. With the counts of how often it is
    /// reached, the corpus would have a thousand files.
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

/// Returns the files of a folder, which may not exist yet.
fn files(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    if !folder.exists() {
        return Ok(BTreeSet::new());
    }
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
