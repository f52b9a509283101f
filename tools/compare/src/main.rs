//! The program that `cargo xtask compare` runs: the same work and the same faults on reqscope and on other pools and
//! lazy cells.

mod backend;
mod contender;
mod contenders;
mod rows;
mod faults;
mod list;
mod work;
mod cells;

use clap::{Parser, Subcommand};

use cells::Cells;
use work::Work;

/// The same work and the same faults on reqscope and on other pools and lazy cells.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the contenders and their versions, as JSON.
    List,
    /// Prints the rows of the honesty table, as JSON.
    Rows,
    /// Causes one fault on one contender, in a process of its own, and prints the verdict as JSON.
    Fault(faults::Fault),
    #[command(flatten)]
    Work(Work),
    #[command(flatten)]
    Cells(Cells),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::List => list::print(),
        Command::Rows => faults::Row::print(),
        Command::Fault(fault) => fault.run(),
        Command::Work(work) => work.run(),
        Command::Cells(cells) => cells.run(),
    }
}
