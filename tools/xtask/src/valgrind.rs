//! Counts instructions and allocations with valgrind.
//!
//! An operation is a command line of the program without its last argument, a number: the program repeats the operation
//! so many times, and does nothing else.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::Serialize;

/// How often an operation is repeated in one run; the other run has twice as many. What happens once per run cancels
/// out.
pub(crate) const TIMES: u64 = 1_000;

/// The cost of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cost {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
}

impl Cost {
    /// Returns by how much this costs more than `that`. Something built on another thing never costs less.
    pub(crate) fn over(self, that: Cost) -> Cost {
        Cost {
            instructions: self.instructions.saturating_sub(that.instructions),
            allocations: self.allocations.saturating_sub(that.allocations),
        }
    }
}

/// The valgrind that is installed.
pub(crate) struct Valgrind {
    version: String,
}

impl Valgrind {
    /// Finds valgrind, or installs Debian's package if this process may.
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

    /// Measures one `operation` of the program.
    pub(crate) fn cost(&self, program: &Path, operation: &[&str]) -> anyhow::Result<Cost> {
        eprintln!("measuring {}", operation.join(" "));
        let instructions = difference(TIMES, |times| instructions(program, operation, times))?;
        let allocations = difference(TIMES, |times| heap(program, operation, times, "total heap usage: "))?;
        Ok(Cost { instructions, allocations })
    }

    /// Runs an `operation` so many times, and writes how often each instruction was executed to `dump`.
    pub(crate) fn count_instructions(
        &self,
        program: &Path,
        operation: &[&str],
        times: u64,
        dump: &Path,
    ) -> anyhow::Result<()> {
        eprintln!("counting the instructions of {}", operation.join(" "));
        let out = format!("--callgrind-out-file={}", dump.display());
        run(&["--tool=callgrind", "--dump-instr=yes", &out], program, operation, times)?;
        Ok(())
    }

    /// Measures how many bytes each repetition of an `operation` leaves on the heap.
    pub(crate) fn left(&self, program: &Path, operation: &[&str], times: u64) -> anyhow::Result<u64> {
        eprintln!("measuring {}", operation.join(" "));
        difference(times, |times| heap(program, operation, times, "in use at exit: "))
    }
}

fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the count for one repetition, as the difference between two runs.
fn difference(times: u64, count: impl Fn(u64) -> anyhow::Result<u64>) -> anyhow::Result<u64> {
    let (once, twice) = (count(times)?, count(2 * times)?);
    // Background threads may add a few counts to either run; what rounds to zero is zero.
    let difference = (twice + times / 2).checked_sub(once).context("twice as many took less")?;
    Ok(difference / times)
}

fn instructions(program: &Path, operation: &[&str], times: u64) -> anyhow::Result<u64> {
    let report = run(&["--tool=callgrind", "--callgrind-out-file=/dev/null"], program, operation, times)?;
    number_after(&report, "Collected : ")
}

/// Returns the number that memcheck prints after this mark: the bytes `in use at exit`, or the allocations of the
/// `total heap usage`, which include `realloc`. The program itself counts nothing.
fn heap(program: &Path, operation: &[&str], times: u64, mark: &str) -> anyhow::Result<u64> {
    let options = ["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"];
    number_after(&run(&options, program, operation, times)?, mark)
}

/// Returns valgrind's report about a run.
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

/// Returns the number after this mark, which may have commas.
fn number_after(report: &str, mark: &str) -> anyhow::Result<u64> {
    let (_, rest) = report.split_once(mark).with_context(|| format!("valgrind says no `{mark}`:\n{report}"))?;
    let digits: String = rest.chars().take_while(|c| !c.is_whitespace()).filter(|c| *c != ',').collect();
    digits.parse().with_context(|| format!("`{mark}{digits}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_and_end_of_a_run_do_not_count() {
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
