//! `cargo xtask bench`: what the operations cost, what the least one could pay is, and whether the promises hold.
//!
//! Instructions and allocations are counted by valgrind, from outside: each operation runs so many times and twice as
//! many, and the difference is the operation alone. So the figures are the same on a busy machine, and the floors are
//! measured in the same run. What happens to a server or to a pool over real sockets is watched in processes of their
//! own.

mod figures;
mod memory;
mod outage;
mod overhead;
mod table;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cargo::Cargo;
use crate::conditions::Conditions;
use crate::readme::Marks;
use crate::tree::Tree;
use crate::valgrind::Valgrind;
use figures::Figure;
use memory::Memory;
use outage::Outage;
use overhead::Overhead;
use throughput::Throughput;

const MARKS: Marks = Marks { what: "figures", chore: "bench" };

/// Which part to measure, and where to put it.
#[derive(Args)]
pub(crate) struct Options {
    /// Measures the operations only, and what a pool takes per object.
    #[arg(long, group = "part")]
    operations: bool,
    /// Measures the memory of a server only.
    #[arg(long, group = "part")]
    memory: bool,
    /// Measures only what callers notice when the backend of their pool goes down and comes back.
    #[arg(long, group = "part")]
    outage: bool,
    /// Measures only how many requests a second there are over loopback, with the layer and without.
    #[arg(long, group = "part")]
    throughput: bool,
    /// Puts the result into README.md, whether it is good or not.
    #[arg(long, conflicts_with = "part")]
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
    overhead: Option<Overhead>,
    memory: Option<Memory>,
    outage: Option<Outage>,
    throughput: Option<Throughput>,
}

impl Findings {
    /// What is told in words, and whether it holds.
    fn promises(&self) -> Vec<(String, bool)> {
        let overhead = self.overhead.iter().map(|overhead| (overhead.to_string(), overhead.holds));
        let memory = self.memory.iter().map(|memory| (memory.to_string(), memory.holds));
        overhead.chain(memory).chain(self.outage.iter().flat_map(Outage::promises)).collect()
    }

    /// What does not hold, a line each.
    fn broken(&self) -> Vec<String> {
        let figures = self.figures.iter().map(|figure| (figure.to_string(), figure.holds));
        figures.chain(self.promises()).filter(|(_, holds)| !holds).map(|(line, _)| line).collect()
    }
}

/// Measures, prints, and fails if something does not hold.
pub(crate) fn run(tree: &Tree, options: &Options) -> anyhow::Result<ExitCode> {
    let valgrind = Valgrind::find_or_install()?;
    let conditions = Conditions::ask(&valgrind)?;
    let program = build(tree)?;
    let all = !(options.operations || options.memory || options.outage || options.throughput);
    let operations = all || options.operations;
    let findings = Findings {
        conditions,
        figures: if operations { figures::measure(&valgrind, &program)? } else { Vec::new() },
        overhead: operations.then(|| overhead::measure(&valgrind, &program)).transpose()?,
        memory: (all || options.memory).then(|| memory::measure(&program)).transpose()?,
        outage: (all || options.outage).then(|| outage::measure(&program)).transpose()?,
        throughput: (all || options.throughput).then(|| throughput::measure(&program)).transpose()?,
    };

    if options.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        println!("{}", table::render(&findings));
    }
    if options.write {
        MARKS.write(tree, &table::render(&findings))?;
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
