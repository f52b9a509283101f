//! What `cargo xtask bench` runs.
//!
//! `run` repeats one operation and does nothing else, so that whoever counts from outside can run it so many times
//! and twice as many: the difference is the operation alone. `memory` attacks a server in a process of its own, which
//! is `serve`, and tells how much memory that one holds. `outage` takes the backend away from a pool under load.
//! `throughput` times requests over loopback. `mysql`, which is a feature, does all of this to a MariaDB.

mod floors;
mod http;
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
mod outage;
mod poll;
mod pool;
mod ready;
mod scope;
mod server;
mod throughput;
mod tower;

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
    /// Stops a backend under a pool and starts it again, and prints what the callers noticed, as JSON.
    Outage {
        /// How often.
        #[arg(default_value_t = 20)]
        restarts: usize,
    },
    /// Asks services over loopback in turns, and prints how many requests a second they answered, as JSON.
    Throughput {
        /// How often each has its turn.
        #[arg(default_value_t = 25)]
        rounds: usize,
    },
    /// Serves until its standard input ends; prints its address, and at the end its statistics, as JSON.
    Serve,
    /// Measures connections to a private MariaDB, and prints what was seen, as JSON.
    #[cfg(feature = "mysql")]
    #[command(subcommand)]
    Mysql(mysql::Part),
}

/// One thing that is measured. Those named `once-cell`, `lazy`, `plain`, `semaphore` and `stack` are floors: what it
/// costs without reqscope.
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
    TowerPlain,
    TowerUnused,
    TowerUsed,
    PoolGet,
    PoolFirst,
    PoolLater,
    PoolLeave,
    SemaphoreGet,
    StackGet,
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
            Operation::TowerPlain => tower::plain(times),
            Operation::TowerUnused => tower::unused(times),
            Operation::TowerUsed => tower::used(times),
            Operation::PoolGet => pool::get(times),
            Operation::PoolFirst => pool::first(times),
            Operation::PoolLater => pool::later(times),
            Operation::PoolLeave => pool::leave(times),
            Operation::SemaphoreGet => floors::semaphore::get(times),
            Operation::StackGet => floors::stack::get(times),
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
        Command::Outage { restarts } => outage::run(restarts),
        Command::Throughput { rounds } => throughput::run(rounds),
        Command::Serve => server::run(),
        #[cfg(feature = "mysql")]
        Command::Mysql(part) => part.run(),
    }
}
