//! `cargo xtask mutants`: breaks the core a line at a time, and fails where no test hears of it.
//!
//! What is broken and what is left alone, with the reasons, is in `.cargo/mutants.toml`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tree::Tree;

/// Which mutants to make.
#[derive(Args)]
pub(crate) struct Options {
    /// Makes one n-th of them: `0/8` up to `7/8`.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Makes those whose name matches, as in `src/cell\.rs` or `replace Cell.*::take`.
    #[arg(long, value_name = "REGEX")]
    re: Option<String>,
}

/// Runs the core's tests against each mutant, in a copy of the workspace.
pub(crate) fn run(tree: &Tree, options: &Options, report: &mut Report) {
    report.step("mutants: cargo-mutants is there", find_or_install);
    report.step("mutants: a test fails for each", || {
        let target = tree.metadata().target_directory.join("mutants");
        fs::create_dir_all(&target).with_context(|| format!("cannot make {target}"))?;
        let mut cargo = Cargo::new(tree, "mutants --package reqscope --no-shuffle")
            // It finds its folder of the same name itself, and keeps the last run beside the new one.
            .argument("--output", target.as_std_path());
        for (option, value) in [("--shard", &options.shard), ("--re", &options.re)] {
            if let Some(value) = value {
                cargo = cargo.argument(option, value);
            }
        }
        cargo.run()?;
        some_were_made(target.as_std_path())
    });
}

/// An expression that matches nothing, or an empty shard, must not look like a success.
fn some_were_made(target: &Path) -> anyhow::Result<()> {
    let list = target.join("mutants.out/mutants.json");
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let mutants: Vec<serde_json::Value> = serde_json::from_str(&text)?;
    ensure!(!mutants.is_empty(), "no mutant was made: is the expression right?");
    Ok(())
}

/// From the registry, as its lock file says, if there is none.
fn find_or_install() -> anyhow::Result<()> {
    if is_there() {
        return Ok(());
    }
    let installed = Command::new("cargo").args(["install", "cargo-mutants", "--locked"]).status();
    if is_there() {
        return Ok(());
    }
    bail!("cargo-mutants is not there, and `cargo install cargo-mutants --locked` gave {installed:?}: install it");
}

fn is_there() -> bool {
    let mut version = Command::new("cargo");
    version.args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
