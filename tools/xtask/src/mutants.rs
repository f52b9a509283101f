//! `cargo xtask mutants`: breaks the core a line at a time, and fails where no test hears of it.
//!
//! What is broken and what is left alone, with the reasons, is in `.cargo/mutants.toml`.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cargo::Cargo;
use crate::report::Report;
use crate::tool;
use crate::tree::Tree;

/// The cargo-mutants that is installed where there is none.
const VERSION: &str = "26.0.0";

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
    report.step("mutants: cargo-mutants is there", || tool::find_or_install(tree, "mutants", VERSION));
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
        cargo.run_to(&ENDS)?;
        Outcomes::read(target.as_std_path())?.verdict()
    });
}

/// The codes of a cargo-mutants that ran to its end: each was caught, one was missed, one timed out. They do not tell
/// whether one was missed among those that timed out, so its list of outcomes is asked, whichever it is.
const ENDS: [i32; 3] = [0, 2, 3];

/// How many mutants there were, and what came of them.
struct Outcomes {
    made: usize,
    counts: Counts,
}

/// As in cargo-mutants' `outcomes.json`.
#[derive(Default, Deserialize)]
struct Counts {
    caught: usize,
    timeout: usize,
    unviable: usize,
    missed: usize,
}

impl Outcomes {
    fn read(target: &Path) -> anyhow::Result<Outcomes> {
        let mutants: Vec<serde_json::Value> = read_json(&target.join("mutants.out/mutants.json"))?;
        // Where it makes no mutant it writes no outcomes either.
        let counts = if mutants.is_empty() {
            Counts::default()
        } else {
            read_json(&target.join("mutants.out/outcomes.json"))?
        };
        Ok(Outcomes { made: mutants.len(), counts })
    }

    /// A test that never ends has noticed: only what is missed is a failure, or a run that says nothing.
    fn verdict(&self) -> anyhow::Result<()> {
        let Outcomes { made, counts: Counts { caught, timeout, unviable, missed } } = *self;
        ensure!(made > 0, "no mutant was made: is the expression right?");
        println!("{caught} caught, {timeout} timed out, {unviable} did not compile, {missed} survived, of {made}");
        ensure!(caught + timeout + unviable + missed == made, "it ended before its last mutant");
        ensure!(caught + timeout > 0, "no test noticed anything: was there one?");
        ensure!(missed == 0, "{missed} survived: each needs a test, or a reason in .cargo/mutants.toml");
        Ok(())
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Counts, Outcomes};

    fn passes(made: usize, [caught, timeout, unviable, missed]: [usize; 4]) -> bool {
        Outcomes { made, counts: Counts { caught, timeout, unviable, missed } }.verdict().is_ok()
    }

    #[test]
    fn a_test_that_never_ends_has_noticed() {
        assert!(passes(6, [3, 2, 1, 0]));
        assert!(passes(2, [0, 2, 0, 0]));
    }

    #[test]
    fn one_that_survives_fails_the_run_also_among_those_that_timed_out() {
        assert!(!passes(6, [3, 2, 0, 1]));
    }

    #[test]
    fn a_run_that_says_nothing_is_no_success() {
        assert!(!passes(0, [0; 4]), "an empty shard");
        assert!(!passes(6, [5, 0, 0, 0]), "one that was cut short");
        assert!(!passes(6, [0, 0, 6, 0]), "one where nothing compiled");
    }
}
