//! Instructions and allocations, counted from outside.
//!
//! An operation is the words of a command line of the program that is lacking a number: with it, the program repeats the
//! operation so many times, and does nothing else.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::Serialize;

/// So many times, and twice as many. What is not divisible by it has happened before or after.
pub(crate) const TIMES: u64 = 1_000;

/// What one operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cost {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
}

impl Cost {
    /// What this takes more than that. Something built on another thing never takes less.
    pub(crate) fn over(self, that: Cost) -> Cost {
        Cost {
            instructions: self.instructions.saturating_sub(that.instructions),
            allocations: self.allocations.saturating_sub(that.allocations),
        }
    }
}

/// The valgrind of this machine.
pub(crate) struct Valgrind {
    version: String,
}

impl Valgrind {
    /// Installs Debian's package if there is none and this process may.
    pub(crate) fn find_or_install() -> anyhow::Result<Valgrind> {
        let Some(version) = version() else {
            eprintln!("installing valgrind");
            let installed = Command::new("apt-get")
                .args(["install", "--yes", "--no-install-recommends", "valgrind"])
                .stdout(Stdio::null())
                .status();
            return match version() {
                Some(version) => Ok(Valgrind { version }),
                None => bail!("valgrind is not there, and `apt-get install valgrind` gave {installed:?}: install it"),
            };
        };
        Ok(Valgrind { version })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// What one `operation` of the program takes.
    pub(crate) fn cost(&self, program: &Path, operation: &[&str]) -> anyhow::Result<Cost> {
        eprintln!("measuring {}", operation.join(" "));
        let instructions = difference(TIMES, |times| instructions(program, operation, times))?;
        let allocations = difference(TIMES, |times| heap(program, operation, times, "total heap usage: "))?;
        Ok(Cost { instructions, allocations })
    }

    /// How many bytes each of so many repetitions of this `operation` of the program leaves on the heap.
    pub(crate) fn left(&self, program: &Path, operation: &[&str], times: u64) -> anyhow::Result<u64> {
        eprintln!("measuring {}", operation.join(" "));
        difference(times, |times| heap(program, operation, times, "in use at exit: "))
    }
}

fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Of one, out of so many and twice as many: what happens once per run falls out.
fn difference(times: u64, count: impl Fn(u64) -> anyhow::Result<u64>) -> anyhow::Result<u64> {
    let (once, twice) = (count(times)?, count(2 * times)?);
    // Threads in the background may count a few more or less: what rounds to nothing is nothing.
    let difference = (twice + times / 2).checked_sub(once).context("twice as many took less")?;
    Ok(difference / times)
}

fn instructions(program: &Path, operation: &[&str], times: u64) -> anyhow::Result<u64> {
    let report = run(&["--tool=callgrind", "--callgrind-out-file=/dev/null"], program, operation, times)?;
    number_after(&report, "Collected : ")
}

/// What memcheck, which counts in passing, says of the heap behind this mark: the bytes `in use at exit`, or the
/// allocations of the `total heap usage`, `realloc` included. Nothing in the program has to count.
fn heap(program: &Path, operation: &[&str], times: u64, mark: &str) -> anyhow::Result<u64> {
    let options = ["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"];
    number_after(&run(&options, program, operation, times)?, mark)
}

/// What valgrind says about a run.
fn run(options: &[&str], program: &Path, operation: &[&str], times: u64) -> anyhow::Result<String> {
    let mut command = Command::new("valgrind");
    command.args(options).arg(program).args(operation).arg(times.to_string());
    let output = command.output().context("valgrind")?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("{command:?} ended with {}\n{report}", output.status);
    }
    Ok(report)
}

/// The number, written with commas or without, that follows this mark.
fn number_after(report: &str, mark: &str) -> anyhow::Result<u64> {
    let (_, rest) = report.split_once(mark).with_context(|| format!("valgrind says no `{mark}`:\n{report}"))?;
    let digits: String = rest.chars().take_while(|c| !c.is_whitespace()).filter(|c| *c != ',').collect();
    digits.parse().with_context(|| format!("`{mark}{digits}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_begins_and_ends_with_does_not_count() {
        assert_eq!(difference(TIMES, |times| Ok(465_234 + 227 * times)).unwrap(), 227);
        assert_eq!(difference(TIMES, |times| Ok(70 + 3 * times + times / TIMES)).unwrap(), 3);
        assert_eq!(difference(TIMES, |times| Ok(70 - times / TIMES)).unwrap(), 0);
        assert!(difference(TIMES, |times| Ok(5 * TIMES - times)).is_err());
    }

    #[test]
    fn numbers_are_read_with_commas_and_without() {
        let callgrind = "==7== Events    : Ir\n==7== Collected : 465234\n==7== \n";
        assert_eq!(number_after(callgrind, "Collected : ").unwrap(), 465_234);
        let memcheck = "==7==   total heap usage: 2,185 allocs, 2,117 frees, 356,812 bytes allocated\n";
        assert_eq!(number_after(memcheck, "total heap usage: ").unwrap(), 2_185);
        assert!(number_after(memcheck, "Collected : ").is_err());
    }
}
