//! `cargo xtask compare`: the same work and the same faults on reqscope and on other pools and lazy cells.
//!
//! The contenders are in `tools/compare/`, a workspace of its own, whose program measures one row at a time and prints
//! the outcome as JSON. This module judges it: a bound against another pool is a ratio of figures of one run, and each
//! cell of our own column of the honesty table must pass.

mod cells;
mod honesty;
mod musts;
mod program;
mod rounds;
mod table;
mod work;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use crate::conditions::Conditions;
use crate::findings::{Evidence, Output, Verdict};
use crate::readme::Marks;
use crate::tree::Tree;
use crate::valgrind::Valgrind;
use cells::Lazy;
use honesty::{CELLS, Honesty, Kind, POOLS};
use musts::Must;
use program::Program;
use work::Work;

const MARKS: Marks = Marks { file: "docs/COMPARISON.md", what: "compared", command: "compare" };

/// Which part to run, and where the result goes.
#[derive(Args)]
pub(crate) struct Options {
    /// Measures the work only, which takes the most time.
    #[arg(long, group = "part")]
    work: bool,
    /// Causes the faults only.
    #[arg(long, group = "part")]
    faults: bool,
    /// Causes one fault only, on all pools, or on one of them.
    #[arg(long, value_name = "ROW", group = "part")]
    fault: Option<String>,
    /// Causes one fault only, on all lazy cells, or on one of them.
    #[arg(long, value_name = "ROW", group = "part")]
    cell_fault: Option<String>,
    /// Causes the faults on this contender only.
    #[arg(long, value_name = "CONTENDER", conflicts_with = "work")]
    on: Option<String>,
    /// Writes the result into docs/COMPARISON.md, whether it is good or not.
    #[arg(long, conflicts_with_all = ["part", "on"])]
    write: bool,
    /// Prints JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// The findings of one run.
#[derive(Serialize)]
struct Findings {
    conditions: Conditions,
    cores: usize,
    seconds: f64,
    work: Option<Work>,
    musts: Vec<Must>,
    lazy: Option<Vec<Lazy>>,
    /// The tables of pools and of lazy cells.
    honesty: Vec<Honesty>,
}

impl Evidence for Findings {
    fn table(&self) -> String {
        table::render(self)
    }

    fn verdicts(&self) -> Vec<(String, Verdict)> {
        let musts = self.musts.iter().map(|must| (must.to_string(), must.verdict));
        let notes = self.honesty.iter().flat_map(Honesty::notes);
        let ours = notes.filter(|note| note.contender.is_ours());
        let ours = ours.map(|note| (format!("{}: {note}", note.row.title), Verdict::Broken));
        musts.chain(ours).collect()
    }
}

/// Fails if the document lacks the marks between which `--write` writes.
pub(crate) fn check_marks(tree: &Tree) -> anyhow::Result<()> {
    MARKS.check(tree)
}

/// Measures, causes faults, prints, and fails if a promise does not hold.
pub(crate) fn run(tree: &Tree, options: &Options) -> anyhow::Result<ExitCode> {
    let valgrind = Valgrind::find_or_install()?;
    let conditions = Conditions::ask(&valgrind)?;
    let program = Program::build(tree)?;
    let begun = Instant::now();
    let all = !(options.work || options.faults || options.fault.is_some() || options.cell_fault.is_some());
    let (mut work, mut musts, mut lazy) = (None, Vec::new(), None);
    if options.work || (all && options.on.is_none()) {
        let measured = work::measure(&program, &valgrind, &POOLS.contenders(&program)?)?;
        musts = musts::judge(&measured)?;
        work = Some(measured);
        lazy = Some(cells::measure(&program, &valgrind, &CELLS.contenders(&program)?)?);
    }
    let mut honesty = Vec::new();
    for (kind, fault) in [(&POOLS, &options.fault), (&CELLS, &options.cell_fault)] {
        if all || options.faults || fault.is_some() {
            honesty.extend(judge(kind, fault.as_deref(), options, &program)?);
        }
    }
    ensure!(work.is_some() || !honesty.is_empty(), "there is no such fault, or no such contender");

    let cores = thread::available_parallelism()?.get();
    let seconds = begun.elapsed().as_secs_f64();
    let findings = Findings { conditions, cores, seconds, work, musts, lazy, honesty };
    Output { json: options.json, write: options.write }.report(tree, &MARKS, &findings)
}

/// Runs clippy, which `--workspace` does not do for this workspace of its own.
pub(crate) fn lint(tree: &Tree) -> anyhow::Result<()> {
    program::cargo(tree, "clippy --quiet --all-targets").words("-- -D warnings").run_quietly()
}

/// Runs the tests of the program itself. The first run compiles the contenders, which takes a minute.
pub(crate) fn test(tree: &Tree) -> anyhow::Result<()> {
    program::cargo(tree, "test --no-fail-fast").run()
}

/// Causes the requested faults of one kind. Returns `None` if there is no such fault or no such contender.
fn judge(kind: &Kind, fault: Option<&str>, options: &Options, program: &Program) -> anyhow::Result<Option<Honesty>> {
    let mut contenders = kind.contenders(program)?;
    contenders.retain(|contender| options.on.as_ref().is_none_or(|name| *name == contender.name));
    let honesty = kind.judge(program, |row| fault.is_none_or(|name| name == row), contenders)?;
    Ok((!honesty.contenders.is_empty() && !honesty.rows.is_empty()).then_some(honesty))
}
