//! reqscope-compare, in a process of its own for each question.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::cargo::Cargo;
use crate::tree::Tree;

/// The longest run takes a minute on a quiet machine. A fault script that hangs is ended by reqscope-compare long
/// before.
const LIMIT: Duration = Duration::from_secs(240);

/// The time between two checks of a process.
const SHORT: Duration = Duration::from_millis(5);

pub(super) struct Program {
    path: PathBuf,
}

impl Program {
    /// Builds the program with its own lock file and its own `[profile.bench]`.
    pub(super) fn build(tree: &Tree) -> anyhow::Result<Program> {
        eprintln!("building reqscope-compare");
        cargo(tree, "build --profile bench").run_quietly()?;
        // The bench profile shares the folder of the release profile.
        Ok(Program { path: tree.metadata().target_directory.join("release/reqscope-compare").into() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs the program with these arguments, and parses what it prints.
    pub(super) fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let output =
            self.run(arguments, LIMIT).with_context(|| format!("reqscope-compare {}", arguments.join(" ")))?;
        serde_json::from_slice(&output)
            .with_context(|| format!("what reqscope-compare {} printed", arguments.join(" ")))
    }

    fn run(&self, arguments: &[&str], limit: Duration) -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(&self.path);
        // Scripts cause panics on purpose, and each verdict is in the output.
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).env("RUST_BACKTRACE", "0");
        let mut child = command.spawn()?;
        let mut stdout = child.stdout.take().context("it is piped")?;
        // In another thread, so that a program that prints much does not block before it is awaited.
        let reader = thread::spawn(move || {
            let mut output = Vec::new();
            stdout.read_to_end(&mut output).map(|_| output)
        });
        match wait_at_most(&mut child, limit)? {
            Some(status) if status.success() => Ok(reader.join().expect("it does not panic")?),
            Some(status) => bail!("it ended with {status}"),
            None => bail!("it hangs: no answer within {limit:?}"),
        }
    }
}

/// Returns a cargo command over the contenders' workspace, with its lock file.
pub(super) fn cargo(tree: &Tree, line: &str) -> Cargo {
    let target = &tree.metadata().target_directory;
    Cargo::new(tree, format!("{line} --locked --manifest-path tools/compare/Cargo.toml"))
        .argument("--target-dir", target.as_std_path())
}

/// Waits for the process. Kills it and returns `None` if it takes longer.
fn wait_at_most(child: &mut Child, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(SHORT);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str], limit: Duration) -> anyhow::Result<Vec<u8>> {
        Program { path: "sh".into() }.run(arguments, limit)
    }

    #[test]
    fn long_output_is_read_whole() {
        let output = run(&["-c", "head -c 200000 /dev/zero"], LIMIT).unwrap();
        assert_eq!(output.len(), 200_000);
    }

    #[test]
    fn process_that_hangs_is_killed_and_failure_is_an_error() {
        let begun = Instant::now();
        assert!(run(&["-c", "exec sleep 60"], Duration::from_millis(50)).is_err());
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(run(&["-c", "echo 1; exit 1"], LIMIT).is_err());
    }
}
