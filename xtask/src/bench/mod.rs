//! `cargo xtask bench`: what the operations cost, what the least one could pay is, and whether the promises hold.
//!
//! Instructions and allocations are counted by valgrind, from outside: each operation runs so many times and twice as
//! many, and the difference is the operation alone. So the figures are the same on a busy machine, and the floors are
//! measured in the same run.

mod conditions;
mod figures;
mod memory;
mod table;
mod valgrind;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cargo::Cargo;
use crate::tree::Tree;
use conditions::Conditions;
use figures::Figure;
use memory::Memory;
use valgrind::Valgrind;

/// Which half to measure, and where to put it.
#[derive(Args)]
pub(crate) struct Options {
    /// Measures the operations only.
    #[arg(long, conflicts_with = "memory")]
    operations: bool,
    /// Measures the memory of a server only.
    #[arg(long)]
    memory: bool,
    /// Puts the result into README.md, whether it is good or not.
    #[arg(long, conflicts_with_all = ["operations", "memory"])]
    write: bool,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// All that one run has found.
#[derive(Serialize)]
struct Findings {
    conditions: Conditions,
    figures: Vec<Figure>,
    memory: Option<Memory>,
}

impl Findings {
    /// What does not hold, a line each.
    fn broken(&self) -> Vec<String> {
        let figures = self.figures.iter().filter(|figure| !figure.holds).map(Figure::to_string);
        figures.chain(self.memory.as_ref().filter(|memory| !memory.holds).map(Memory::to_string)).collect()
    }
}

/// Measures, prints, and fails if something does not hold.
pub(crate) fn run(tree: &Tree, options: &Options) -> anyhow::Result<ExitCode> {
    let valgrind = Valgrind::find_or_install()?;
    let conditions = Conditions::ask(&valgrind)?;
    let program = build(tree)?;
    let figures = if options.memory { Vec::new() } else { figures::measure(&valgrind, &program)? };
    let memory = if options.operations { None } else { Some(memory::measure(&program)?) };
    let findings = Findings { conditions, figures, memory };

    if options.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        println!("{}", table::render(&findings));
    }
    if options.write {
        table::write(tree, &findings)?;
    }
    let broken = findings.broken();
    for line in &broken {
        eprintln!("does not hold: {line}");
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the program that is measured, as the root's `[profile.bench]` says, and tells where it is.
fn build(tree: &Tree) -> anyhow::Result<PathBuf> {
    eprintln!("building reqscope-bench");
    Cargo::new(tree, "build --profile bench --package reqscope-bench").run_quietly()?;
    // Cargo puts what the bench profile makes where that of the release profile goes.
    Ok(tree.metadata().target_directory.join("release/reqscope-bench").into())
}
