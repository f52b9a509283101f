//! What `cargo xtask compare` runs: the same work and the same faults on reqscope and on what people use today.

mod backend;
mod contender;
mod contenders;
mod list;
#[allow(dead_code, reason = "the scripts that judge by it come next")]
mod verdict;
mod work;

use clap::{Parser, Subcommand};

use work::Work;

/// The same work and the same faults on reqscope and on what people use today.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Who is compared, and in which version; prints JSON.
    List,
    #[command(flatten)]
    Work(Work),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::List => list::print(),
        Command::Work(work) => work.run(),
    }
}
