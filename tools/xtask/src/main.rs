//! The chores of the workspace, as code: `cargo xtask test`, `cargo xtask check`, `cargo xtask loom`, `cargo xtask fuzz`,
//! `cargo xtask mutants`, `cargo xtask bench`, `cargo xtask compare`, `cargo xtask endings`.
//!
//! A rule of the house that a machine can keep is a step here or a lint in the root `Cargo.toml`, not a remark in a
//! review. Each rule has a file of its own; `test.rs` and `check.rs` are the two lists of steps.

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

/// The chores of the reqscope workspace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs the tests of the workspace and of the examples, with all features. Installs the database servers that some
    /// need, where it may.
    Test(Steps),
    /// Checks everything else: format, lints, docs, floors, licences, packages, and the tests that take another build:
    /// without features, of the portable fallbacks, of the comparison.
    Check(Steps),
    /// Runs the models of the core under loom, in every order that their threads can take.
    Loom,
    /// Breaks the core a line at a time, and fails where no test notices.
    Mutants(mutants::Options),
    /// Plays random operations on a scope and on a pool, steered by the code that they reach, against their models.
    Fuzz(fuzz::Options),
    /// Measures what the operations cost and how much memory a server holds; fails if that is more than promised.
    Bench(bench::Options),
    /// Does the same work and causes the same faults on reqscope and on other pools and lazy cells; fails if a promised
    /// ratio or a cell of ours does not hold.
    Compare(compare::Options),
    /// Ends requests in every way there is, over HTTP/1 and HTTP/2, through hyper and axum; fails if the exit that was
    /// passed to a resource is wrong, or was not passed once, or if a client received the wrong answer.
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
    match arguments.chore {
        Chore::Test(Steps { servers, filter }) => {
            report = Report::new(filter);
            test::run(&tree, &servers, &mut report);
        }
        Chore::Check(Steps { servers, filter }) => {
            report = Report::new(filter);
            check::run(&tree, &servers, &mut report);
        }
        Chore::Loom => loom::run(&tree, &mut report),
        Chore::Mutants(options) => mutants::run(&tree, &options, &mut report),
        Chore::Fuzz(options) => fuzz::run(&tree, &options, &mut report)?,
        Chore::Bench(options) => return bench::run(&tree, &options),
        Chore::Compare(options) => return compare::run(&tree, &options),
        Chore::Endings(options) => return endings::run(&tree, &options),
        Chore::Ci(servers) => {
            test::run(&tree, &servers, &mut report);
            check::run(&tree, &servers, &mut report);
        }
    }
    Ok(report.finish())
}
