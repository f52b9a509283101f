//! What does the work: reqscope-compare, in a process for each question.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use crate::cargo::Cargo;
use crate::tree::Tree;

/// The longest that takes a minute on a quiet machine. A fault script that hangs is ended by its own process long before.
const LIMIT: Duration = Duration::from_secs(240);

/// Between two looks.
const SHORT: Duration = Duration::from_millis(5);

pub(super) struct Program {
    path: PathBuf,
}

impl Program {
    /// Builds it, as its own lock file and its own `[profile.bench]` say.
    pub(super) fn build(tree: &Tree) -> anyhow::Result<Program> {
        eprintln!("building reqscope-compare");
        cargo(tree, "build --profile bench").run_quietly()?;
        // Cargo puts what the bench profile makes where that of the release profile goes.
        Ok(Program { path: tree.metadata().target_directory.join("release/reqscope-compare").into() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it prints when it is run with these words.
    pub(super) fn ask<T: DeserializeOwned>(&self, words: &[&str]) -> anyhow::Result<T> {
        let said = self.run(words, LIMIT).with_context(|| format!("reqscope-compare {}", words.join(" ")))?;
        serde_json::from_slice(&said).with_context(|| format!("what reqscope-compare {} printed", words.join(" ")))
    }

    fn run(&self, words: &[&str], limit: Duration) -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(&self.path);
        // A panic that a script causes is no news, and each verdict is in the answer.
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).env("RUST_BACKTRACE", "0");
        let mut child = command.spawn()?;
        let mut stdout = child.stdout.take().context("it is piped")?;
        // Beside, so that one who prints much does not wait for one who reads when it has ended.
        let reader = thread::spawn(move || {
            let mut said = Vec::new();
            stdout.read_to_end(&mut said).map(|_| said)
        });
        match ended_within(&mut child, limit)? {
            Some(status) if status.success() => Ok(reader.join().expect("it does not panic")?),
            Some(status) => bail!("it ended with {status}"),
            None => bail!("it hangs: no answer within {limit:?}"),
        }
    }
}

/// A cargo command over the contenders' workspace, as its lock file says.
pub(super) fn cargo(tree: &Tree, line: &str) -> Cargo {
    let target = &tree.metadata().target_directory;
    Cargo::new(tree, format!("{line} --locked --manifest-path tools/compare/Cargo.toml"))
        .argument("--target-dir", target.as_std_path())
}

/// One that takes longer is killed.
fn ended_within(child: &mut Child, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
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

    fn run(words: &[&str], limit: Duration) -> anyhow::Result<Vec<u8>> {
        Program { path: "sh".into() }.run(words, limit)
    }

    #[test]
    fn what_it_says_is_heard_however_much_it_is() {
        let said = run(&["-c", "head -c 200000 /dev/zero"], LIMIT).unwrap();
        assert_eq!(said.len(), 200_000);
    }

    #[test]
    fn one_that_hangs_is_killed_and_one_that_fails_has_said_nothing() {
        let begun = Instant::now();
        assert!(run(&["-c", "exec sleep 60"], Duration::from_millis(50)).is_err());
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(run(&["-c", "echo 1; exit 1"], LIMIT).is_err());
    }
}
