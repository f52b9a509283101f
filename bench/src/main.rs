//! What `cargo xtask bench` runs.
//!
//! `run` repeats one operation and does nothing else, so that whoever counts from outside can run it so many times
//! and twice as many: the difference is the operation alone. `memory` attacks a server in a process of its own, which
//! is `serve`, and tells how much memory that one holds.

mod floors;
mod http;
mod memory;
mod poll;
mod ready;
mod scope;
mod server;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime;

/// The operations that `cargo xtask bench` measures.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Repeats one operation.
    Run {
        /// Which one.
        operation: Operation,
        /// How often.
        times: usize,
    },
    /// Attacks `serve` in a process of its own, and prints how much memory it held, as JSON.
    Memory {
        /// How many requests before the first look at its memory, and again before the second.
        #[arg(default_value_t = 50_000)]
        half: usize,
    },
    /// Serves until its standard input ends; prints its address, and at the end its statistics, as JSON.
    Serve,
}

/// One thing that is measured. Those named `once-cell`, `lazy` and `plain` are floors: what it costs without reqscope.
#[derive(Clone, Copy, ValueEnum)]
enum Operation {
    ScopeUnused,
    ScopeFirst,
    ScopeLater,
    OnceCellUnused,
    OnceCellFirst,
    OnceCellLater,
    LazyUnused,
    LazyFirst,
    LazyLater,
    HttpPlain,
    HttpUnused,
    HttpUsed,
    HttpOnceCellUnused,
    HttpOnceCellUsed,
}

impl Operation {
    fn repeat(self, times: usize) {
        match self {
            Operation::ScopeUnused => scope::unused(times),
            Operation::ScopeFirst => scope::first(times),
            Operation::ScopeLater => scope::later(times),
            Operation::OnceCellUnused => floors::once_cell::unused(times),
            Operation::OnceCellFirst => floors::once_cell::first(times),
            Operation::OnceCellLater => floors::once_cell::later(times),
            Operation::LazyUnused => floors::lazy::unused(times),
            Operation::LazyFirst => floors::lazy::first(times),
            Operation::LazyLater => floors::lazy::later(times),
            Operation::HttpPlain => http::plain(times),
            Operation::HttpUnused => http::unused(times),
            Operation::HttpUsed => http::used(times),
            Operation::HttpOnceCellUnused => http::once_cell_unused(times),
            Operation::HttpOnceCellUsed => http::once_cell_used(times),
        }
    }
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run { operation, times } => {
            // Nothing here ever waits, but a handler always has a runtime around it.
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let _entered = runtime.enter();
            operation.repeat(times);
            Ok(())
        }
        Command::Memory { half } => memory::run(half),
        Command::Serve => server::run(),
    }
}
