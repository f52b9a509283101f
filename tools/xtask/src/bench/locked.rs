//! Counts locked instructions: those with which a core takes a cache line for itself, and waits for a core that has it.
//!
//! Callgrind counts how often each instruction is executed, and the disassembly says which of them are locked.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::valgrind::{TIMES, Valgrind};

/// The operations whose locked instructions are counted, the title of each, and the most that it may execute.
const COUNTED: [(&str, &str, u64); 2] = [
    // What a request that uses a resource executed before the counters were sharded: it must not be more again. Most of
    // the others are in locks and reference counts of its own; see docs/design/0012-counters.md.
    ("scope-first", "open, first get, return the guard, close", 45),
    ("pool-get", "pool: get, return", 6),
];

/// The locked instructions of one operation.
#[derive(Serialize)]
pub(super) struct Locked {
    operation: &'static str,
    instructions: u64,
    must: u64,
    pub(super) holds: bool,
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Locked { operation, instructions, must, .. } = self;
        write!(f, "Locked instructions of {operation}: {instructions} (must: <= {must})")
    }
}

/// Counts them in each of the operations.
pub(super) fn measure(valgrind: &Valgrind, program: &Path) -> anyhow::Result<Vec<Locked>> {
    let locked = addresses(&disassemble(program)?);
    ensure!(!locked.is_empty(), "the disassembly of {} shows no locked instruction", program.display());
    let dump = program.with_extension("callgrind");
    let count = |run: &str, times| -> anyhow::Result<u64> {
        valgrind.count_instructions(program, &["run", run], times, &dump)?;
        let text = fs::read_to_string(&dump).with_context(|| dump.display().to_string())?;
        fs::remove_file(&dump)?;
        executed(&text, program, &locked)
    };
    let each = COUNTED.map(|(run, operation, must)| {
        let (once, twice) = (count(run, TIMES)?, count(run, 2 * TIMES)?);
        let instructions = twice.checked_sub(once).context("twice as many took less")?.div_ceil(TIMES);
        Ok(Locked { operation, instructions, must, holds: instructions <= must })
    });
    each.into_iter().collect()
}

fn disassemble(program: &Path) -> anyhow::Result<String> {
    let output = Command::new("objdump").args(["--disassemble", "--no-show-raw-insn"]).arg(program).output();
    let output = output.context("objdump is not there: install binutils")?;
    ensure!(output.status.success(), "objdump ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the addresses of the instructions with a `lock` prefix, and of those that are locked without one: `xchg` with
/// memory.
fn addresses(disassembly: &str) -> HashSet<u64> {
    let instructions = disassembly.lines().filter_map(|line| line.trim_start().split_once(":\t"));
    let locked = instructions.filter(|(_, text)| {
        let text = text.trim_start();
        text.starts_with("lock ") || text.starts_with("xchg") && text.contains('(')
    });
    locked.filter_map(|(address, _)| u64::from_str_radix(address, 16).ok()).collect()
}

/// Returns how often the program's instructions at these addresses were executed, from callgrind's dump.
fn executed(dump: &str, program: &Path, locked: &HashSet<u64>) -> anyhow::Result<u64> {
    let program = program.display().to_string();
    // Names are abbreviated: `ob=(2) /path` the first time, also as `cob=`, and `ob=(2)` from then on.
    let mut own = None;
    let (mut in_program, mut is_call, mut address, mut sum) = (false, false, 0, 0);
    for line in dump.lines() {
        if let Some(object) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
            let (id, name) = object.split_once(' ').unwrap_or((object, ""));
            if name == program {
                own = Some(id.to_owned());
            }
            if line.starts_with("ob=") {
                in_program = own.as_deref() == Some(id);
            }
        } else if line.starts_with("calls=") {
            // The next line has the cost of what was called, which is also counted there.
            is_call = true;
        } else if let Some(new) = position(line, address) {
            address = new;
            let counts = !std::mem::take(&mut is_call) && in_program && locked.contains(&address);
            if counts {
                let count = line.rsplit(' ').next().unwrap_or_default();
                sum += count.parse::<u64>().with_context(|| format!("callgrind's line `{line}`"))?;
            }
        }
    }
    Ok(sum)
}

/// Returns the address of a line of costs: absolute, relative to the address before, or the same.
fn position(line: &str, before: u64) -> Option<u64> {
    let text = line.split(' ').next()?;
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match text.split_at_checked(1)? {
        ("*", "") => Some(before),
        ("+", forward) => before.checked_add(number(forward)?),
        ("-", back) => before.checked_sub(number(back)?),
        _ => text.strip_prefix("0x").and(number(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_instructions_are_found_with_and_without_prefix() {
        let disassembly = "0000000000028b30 <f>:\n   28b3e:\tlock cmpxchg %cl,0x20(%r12)\n   28b45:\tmov %rax,(%rcx)\n   \
                           28b48:\txchg %al,(%rdx)\n   28b4a:\txchg %ax,%ax\n";
        assert_eq!(addresses(disassembly), HashSet::from([0x28b3e, 0x28b48]));
    }

    #[test]
    fn costs_of_calls_and_of_other_objects_do_not_count() {
        let dump = "ob=(1) /lib/ld.so\nfn=(1)\n0x10 5 7\nob=(2) /bin/program\nfn=(2)\n0x10 5 100\n+6 5 1\n* 6 2\n\
                    cob=(1)\ncfn=(1)\ncalls=3 0x10\n-6 5 1000\n0x20 5 10\n";
        let locked = HashSet::from([0x10, 0x16]);
        assert_eq!(executed(dump, Path::new("/bin/program"), &locked).unwrap(), 103);
        assert_eq!(executed(dump, Path::new("/lib/ld.so"), &locked).unwrap(), 7);
    }
}
