//! `cargo xtask bench`: what the operations cost, what the floors cost, and whether the promises hold.
//!
//! Valgrind counts instructions and allocations: each operation runs so many times and twice as many times, and the
//! difference is the operation alone. So the figures are the same on a busy machine. The floors are measured in the
//! same run. Servers and pools over real sockets run in processes of their own.

mod crowd;
mod figures;
mod locked;
mod memory;
mod mysql;
mod outage;
mod overhead;
mod pool;
mod scaling;
mod table;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};
use clap::Args;
use reqscope_records::bench::OutageRun;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cargo::Cargo;
use crate::conditions::Conditions;
use crate::findings::{Evidence, Output, Verdict};
use crate::readme::Marks;
use crate::tree::Tree;
use crate::valgrind::Valgrind;
use crowd::Crowd;
use figures::Figure;
use locked::Locked;
use memory::Memory;
use overhead::Overhead;
use pool::Pool;
use scaling::Scaling;
use throughput::Throughput;

const MARKS: Marks = Marks { file: "docs/BENCHMARKS.md", what: "figures", command: "bench" };

/// The place of the most important figures in the README.
const KEY_MARKS: Marks = Marks { file: "README.md", what: "five figures", command: "bench" };

/// Which part to measure, and where the result goes.
#[derive(Args)]
pub(crate) struct Options {
    /// Measures the operations only, what a pool takes per object, locked instructions, and two threads at once.
    #[arg(long, group = "part")]
    operations: bool,
    /// Measures only how long a pool takes beside a `Semaphore`, and how long waiters that leave it take.
    #[arg(long, group = "part")]
    pool: bool,
    /// Measures the memory of a server only.
    #[arg(long, group = "part")]
    memory: bool,
    /// Measures only what callers notice when the backend of their pool goes down and comes back.
    #[arg(long, group = "part")]
    outage: bool,
    /// Measures only how many requests a second there are over loopback, with the layer and without.
    #[arg(long, group = "part")]
    throughput: bool,
    /// Measures only many tasks that share one handle.
    #[arg(long, group = "part")]
    crowd: bool,
    /// Measures MySQL connections instead, against a private MariaDB and beside the bare driver.
    #[arg(long, conflicts_with = "part")]
    mysql: bool,
    /// Writes the result into docs/BENCHMARKS.md and README.md, or with --mysql into the README.md of reqscope-mysql,
    /// whether it is good or not.
    #[arg(long, conflicts_with = "part")]
    write: bool,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// The findings of one run.
#[derive(Serialize)]
struct Findings {
    conditions: Conditions,
    figures: Vec<Figure>,
    overhead: Option<Overhead>,
    locked: Vec<Locked>,
    scaling: Option<Scaling>,
    pool: Option<Pool>,
    memory: Option<Memory>,
    outage: Option<OutageRun>,
    throughput: Option<Throughput>,
    crowd: Option<Crowd>,
}

impl Findings {
    /// Returns the promises that are sentences and not rows, and whether they hold.
    fn promises(&self) -> Vec<(String, Verdict)> {
        let overhead = self.overhead.iter().map(|overhead| (overhead.to_string(), overhead.holds.into()));
        let memory = self.memory.iter().map(|memory| (memory.to_string(), memory.holds.into()));
        let crowd = self.crowd.iter().map(|crowd| (crowd.to_string(), crowd.ratio.verdict));
        let locked = self.locked.iter().map(|locked| (locked.to_string(), locked.holds.into()));
        let scaling = self.scaling.iter().map(|scaling| (scaling.to_string(), scaling.ratio.verdict));
        let outage = self.outage.iter().flat_map(outage::promises);
        overhead
            .chain(locked)
            .chain(self.pool.iter().flat_map(Pool::promises))
            .chain(scaling)
            .chain(memory)
            .chain(crowd)
            .chain(outage.map(|(promise, holds)| (promise, holds.into())))
            .collect()
    }
}

impl Evidence for Findings {
    fn table(&self) -> String {
        table::render(self)
    }

    fn verdicts(&self) -> Vec<(String, Verdict)> {
        let figures = self.figures.iter().map(|figure| (figure.to_string(), figure.holds.into()));
        figures.chain(self.promises()).collect()
    }
}

/// Fails if a document lacks the marks between which `--write` writes. The measurement takes minutes, so this is known
/// before.
pub(crate) fn check_marks(tree: &Tree) -> anyhow::Result<()> {
    [&MARKS, &KEY_MARKS, &mysql::MARKS].into_iter().try_for_each(|marks| marks.check(tree))
}

/// Measures, prints, and fails if a promise does not hold.
pub(crate) fn run(tree: &Tree, options: &Options) -> anyhow::Result<ExitCode> {
    let valgrind = Valgrind::find_or_install()?;
    let conditions = Conditions::ask(&valgrind)?;
    if options.mysql {
        return mysql::run(tree, options, &valgrind, conditions);
    }
    let program = build(tree, "")?;
    let all = !(options.operations
        || options.pool
        || options.memory
        || options.outage
        || options.throughput
        || options.crowd);
    let operations = all || options.operations;
    let findings = Findings {
        conditions,
        figures: if operations { figures::measure(&valgrind, &program)? } else { Vec::new() },
        overhead: operations.then(|| overhead::measure(&valgrind, &program)).transpose()?,
        locked: if operations { locked::measure(&valgrind, &program)? } else { Vec::new() },
        scaling: operations.then(|| scaling::measure(&program)).transpose()?,
        pool: (all || options.pool).then(|| pool::measure(&program)).transpose()?,
        memory: (all || options.memory).then(|| memory::measure(&program)).transpose()?,
        outage: (all || options.outage).then(|| outage::measure(&program)).transpose()?,
        throughput: (all || options.throughput).then(|| throughput::measure(&program)).transpose()?,
        crowd: (all || options.crowd).then(|| crowd::measure(&program)).transpose()?,
    };
    if options.write {
        KEY_MARKS.write(tree, &table::key_figures(&findings.figures))?;
    }
    Output { json: options.json, write: options.write }.report(tree, &MARKS, &findings)
}

/// Builds the program that is measured, with the root's `[profile.bench]` and these features, and returns its path.
fn build(tree: &Tree, features: &str) -> anyhow::Result<PathBuf> {
    eprintln!("building reqscope-bench");
    Cargo::new(tree, format!("build --profile bench --package reqscope-bench --features={features}"))
        .run_quietly()?;
    // The bench profile shares the folder of the release profile.
    Ok(tree.metadata().target_directory.join("release/reqscope-bench").into())
}

/// Runs the program with these arguments, and parses what it prints.
fn ask<T: DeserializeOwned>(program: &Path, arguments: &[&str]) -> anyhow::Result<T> {
    let line = format!("reqscope-bench {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().context("reqscope-bench")?;
    ensure!(output.status.success(), "{line} ended with {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("what {line} printed"))
}
