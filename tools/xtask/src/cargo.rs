//! One call of cargo.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::tree::Tree;

/// A cargo command in the root of the workspace, with the toolchain that runs this program.
pub(crate) struct Cargo {
    command: Command,
    /// The command as a user would type it, for messages.
    line: String,
}

impl Cargo {
    /// Creates a command from a line, such as `"test --workspace"`, which is split at blanks.
    pub(crate) fn new(tree: &Tree, line: impl Into<String>) -> Cargo {
        let line = line.into();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(line.split_whitespace()).current_dir(tree.root());
        Cargo { command, line: format!("cargo {line}") }
    }

    /// Adds an option whose value may contain blanks.
    pub(crate) fn argument(mut self, option: &str, value: impl AsRef<OsStr>) -> Cargo {
        let value = value.as_ref();
        self.command.arg(option).arg(value);
        self.line = format!("{} {option} {}", self.line, value.display());
        self
    }

    /// Adds more words, split at blanks.
    pub(crate) fn words(mut self, words: &str) -> Cargo {
        self.command.args(words.split_whitespace());
        self.line = format!("{} {words}", self.line);
        self
    }

    /// Adds a path that belongs to no option.
    pub(crate) fn path(mut self, path: &Path) -> Cargo {
        self.command.arg(path);
        self.line = format!("{} {}", self.line, path.display());
        self
    }

    /// Sets an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Cargo {
        let value = value.as_ref();
        self.command.env(name, value);
        self.line = format!("{name}='{}' {}", value.display(), self.line);
        self
    }

    /// Removes an environment variable.
    pub(crate) fn without_variable(mut self, name: &str) -> Cargo {
        self.command.env_remove(name);
        self.line = format!("env -u {name} {}", self.line);
        self
    }

    /// Adds flags to an environment variable that holds flags, and keeps those that are already in it.
    pub(crate) fn flags(mut self, variable: &str, flags: &str) -> Cargo {
        let before = std::env::var(variable).unwrap_or_default();
        self.command.env(variable, format!("{before} {flags}").trim_start());
        self.line = format!("{variable}='{flags}' {}", self.line);
        self
    }

    /// Lets another program run the command: `"unshare --net"`.
    pub(crate) fn within(self, prefix: &str) -> Cargo {
        let mut words = prefix.split_whitespace();
        let mut command = Command::new(words.next().expect("a prefix names a program"));
        command.args(words).arg(self.command.get_program()).args(self.command.get_args());
        if let Some(folder) = self.command.get_current_dir() {
            command.current_dir(folder);
        }
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Cargo { command, line: format!("{prefix} {}", self.line) }
    }

    /// Runs the command without output, and returns whether it succeeded.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.output().is_ok_and(|output| output.status.success())
    }

    /// Runs the command with its output passed through: for tests, where the lines are the evidence.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.run_to(&[0])
    }

    /// Runs a tool that has several exit codes for a complete run.
    pub(crate) fn run_to(mut self, ends: &[i32]) -> anyhow::Result<()> {
        let status = self.command.status().with_context(|| format!("cannot start {}", self.line))?;
        match status.code() {
            Some(code) if ends.contains(&code) => Ok(()),
            _ => bail!("{} ended with {status}", self.line),
        }
    }

    /// Runs the command and prints its output only if it fails: for checks.
    pub(crate) fn run_quietly(mut self) -> anyhow::Result<()> {
        let output = self.command.output().with_context(|| format!("cannot start {}", self.line))?;
        if !output.status.success() {
            std::io::stdout().write_all(&output.stdout)?;
            std::io::stdout().write_all(&output.stderr)?;
            bail!("{} ended with {}", self.line, output.status);
        }
        Ok(())
    }
}
