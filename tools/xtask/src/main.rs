//! The commands of the workspace: `cargo xtask test`, `cargo xtask check`, `cargo xtask loom`, `cargo xtask fuzz`,
//! `cargo xtask mutants`, `cargo xtask bench`, `cargo xtask compare`, `cargo xtask endings`.
//!
//! A rule that a machine can check is a step here or a lint in the root `Cargo.toml`, not a remark in a review. Each
//! rule has a file of its own; `test.rs` and `check.rs` are the two lists of steps.

mod architecture;
mod attributes;
mod bench;
mod cargo;
mod check;
mod circles;
mod compare;
mod conditions;
mod deny;
mod edges;
mod endings;
mod examples;
mod features;
mod futures;
mod findings;
mod floors;
mod fuzz;
mod imports;
mod links;
mod loom;
mod manifests;
mod msrv;
mod mutants;
mod names;
mod namespace;
mod packages;
mod portable;
mod ratio;
mod readme;
mod readme_project;
mod report;
mod rustdoc;
mod servers;
mod spread;
mod test;
mod tool;
mod tree;
mod valgrind;
mod verbs;
mod words;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::report::{Filter, Report};
use crate::tree::Tree;

/// The commands of the reqscope workspace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the tests of the workspace and of the examples, with all features. Installs the database servers that some
    /// need, if it may.
    Test(Steps),
    /// Checks everything else: format, lints, docs, floors, licences, packages, and the tests that need another build:
    /// without features, of the portable fallbacks, of the comparison.
    Check(Steps),
    /// Runs the models of the core under loom, in every order of their threads.
    Loom,
    /// Breaks the core one line at a time, and fails where no test notices.
    Mutants(mutants::Options),
    /// Runs random operations on a scope and on a pool, guided by coverage, against their models.
    Fuzz(fuzz::Options),
    /// Measures what the operations cost and how much memory a server holds, and fails if that is more than promised.
    Bench(bench::Options),
    /// Does the same work and causes the same faults on reqscope and on other pools and lazy cells, and fails if a
    /// promised ratio or a cell of ours does not hold.
    Compare(compare::Options),
    /// Ends requests in every possible way, over HTTP/1 and HTTP/2, through hyper and axum. Fails if the wrong exit was
    /// passed to a resource, or none or two, or if a client received the wrong answer.
    Endings(endings::Options),
    /// Runs `test`, then `check`.
    Ci(servers::Options),
}

/// Which steps to run, and whether with servers.
#[derive(Args)]
struct Steps {
    #[command(flatten)]
    servers: servers::Options,
    #[command(flatten)]
    filter: Filter,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let tree = Tree::load()?;
    let mut report = Report::of_all();
    match arguments.command {
        Command::Test(Steps { servers, filter }) => {
            report = Report::new(filter);
            test::run(&tree, &servers, &mut report);
        }
        Command::Check(Steps { servers, filter }) => {
            report = Report::new(filter);
            check::run(&tree, &servers, &mut report);
        }
        Command::Loom => loom::run(&tree, &mut report),
        Command::Mutants(options) => mutants::run(&tree, &options, &mut report),
        Command::Fuzz(options) => fuzz::run(&tree, &options, &mut report)?,
        Command::Bench(options) => return bench::run(&tree, &options),
        Command::Compare(options) => return compare::run(&tree, &options),
        Command::Endings(options) => return endings::run(&tree, &options),
        Command::Ci(servers) => {
            test::run(&tree, &servers, &mut report);
            check::run(&tree, &servers, &mut report);
        }
    }
    Ok(report.finish())
}
