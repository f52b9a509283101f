//! `cargo xtask mutants`: breaks the core one line at a time, and fails where no test notices.
//!
//! `.cargo/mutants.toml` says what is broken and what is left out, with the reasons.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cargo::Cargo;
use crate::report::{Report, none_of};
use crate::tool;
use crate::tree::Tree;

/// The cargo-mutants that is installed where there is none.
const VERSION: &str = "26.0.0";

/// Which mutants to make.
#[derive(Args)]
pub(crate) struct Options {
    /// Makes one n-th of the mutants: `0/8` up to `7/8`.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Makes the mutants whose name matches, as in `src/cell\.rs` or `replace Cell.*::take`.
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
            // cargo-mutants adds its own folder, and keeps the previous run beside the new one.
            .argument("--output", target.as_std_path())
            // In one target folder, cargo takes all copies of the workspace for the same: a test could run without its
            // mutant, and the next build here could contain one.
            .without_variable("CARGO_TARGET_DIR");
        for (option, value) in [("--shard", &options.shard), ("--re", &options.re)] {
            if let Some(value) = value {
                cargo = cargo.argument(option, value);
            }
        }
        cargo.run_to(&ENDS)?;
        Outcomes::read(target.as_std_path())?.verdict()
    });
}

/// The settings of cargo-mutants.
const SETTINGS: &str = ".cargo/mutants.toml";

/// Fails for each path in the settings that matches no file: a file that was moved would no longer be broken.
pub(crate) fn check_paths(tree: &Tree) -> anyhow::Result<()> {
    let settings = tree.read(Path::new(SETTINGS))?;
    let globs = globs(&settings);
    ensure!(!globs.is_empty(), "{SETTINGS} has no `examine_globs`");
    let stale = globs.into_iter().filter(|glob| !tree.files("rs").any(|file| matches(glob, file)));
    none_of(stale.map(|glob| format!("{SETTINGS}: {glob} matches no file")).collect())
}

/// Returns the `examine_globs`, which stand on a line each.
fn globs(settings: &str) -> Vec<&str> {
    let lines = settings.lines().skip_while(|line| !line.starts_with("examine_globs"));
    let lines = lines.skip(1).take_while(|line| *line != "]");
    lines.filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\",")).collect()
}

/// Returns whether the file has this path, in which one `*` may stand for anything.
fn matches(glob: &str, file: &Path) -> bool {
    let path = file.to_string_lossy();
    match glob.split_once('*') {
        Some((begin, end)) => path.starts_with(begin) && path.ends_with(end),
        None => path == glob,
    }
}

/// The exit codes of a complete run: all mutants were caught, one was missed, one timed out. They do not say whether
/// one was missed when another timed out, so the list of outcomes is read in any case.
const ENDS: [i32; 3] = [0, 2, 3];

/// How many mutants there were, and their outcomes.
struct Outcomes {
    made: usize,
    counts: Counts,
}

/// The counts in cargo-mutants' `outcomes.json`.
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
        // Without mutants it writes no outcomes.
        let counts = if mutants.is_empty() {
            Counts::default()
        } else {
            read_json(&target.join("mutants.out/outcomes.json"))?
        };
        Ok(Outcomes { made: mutants.len(), counts })
    }

    /// Fails if a mutant was missed, or if the run proves nothing. A test that never ends has noticed its mutant.
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
    use std::path::Path;

    use super::{Counts, Outcomes, globs, matches};

    fn passes(made: usize, [caught, timeout, unviable, missed]: [usize; 4]) -> bool {
        Outcomes { made, counts: Counts { caught, timeout, unviable, missed } }.verdict().is_ok()
    }

    #[test]
    fn globs_are_read_from_the_settings() {
        let settings = "# a\nexamine_globs = [\n    \"a.rs\",\n    \"b/*.rs\",\n]\n\nexclude_re = [\n    \"c\",\n]\n";
        assert_eq!(globs(settings), ["a.rs", "b/*.rs"]);
        assert!(matches("b/*.rs", Path::new("b/c.rs")) && !matches("b/*.rs", Path::new("a.rs")));
    }

    #[test]
    fn mutant_that_times_out_counts_as_caught() {
        assert!(passes(6, [3, 2, 1, 0]));
        assert!(passes(2, [0, 2, 0, 0]));
    }

    #[test]
    fn surviving_mutant_fails_the_run_even_beside_timeouts() {
        assert!(!passes(6, [3, 2, 0, 1]));
    }

    #[test]
    fn run_that_proves_nothing_fails() {
        assert!(!passes(0, [0; 4]), "an empty shard");
        assert!(!passes(6, [5, 0, 0, 0]), "one that was cut short");
        assert!(!passes(6, [0, 0, 6, 0]), "one where nothing compiled");
    }
}
