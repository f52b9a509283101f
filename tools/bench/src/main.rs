//! The program that `cargo xtask bench` runs.
//!
//! `run` repeats one operation and does nothing else. Valgrind counts a run of so many repetitions and one of twice as
//! many: the difference is the operation alone. `memory` attacks a server in a process of its own (`serve`), and prints
//! how much memory it holds. `outage` stops the backend of a pool under load. `throughput` times requests over
//! loopback. `crowd` times many tasks that share one handle, `checkout` a pool, and `departures` the callers that leave
//! its line. `mysql`, a feature, measures connections to a MariaDB.

mod checkout;
mod crowd;
mod departures;
mod floors;
mod http;
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
mod outage;
mod poll;
mod pool;
mod ready;
mod router;
mod scaling;
mod scope;
mod server;
mod throughput;
mod tower;
mod turns;

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
        /// Which operation.
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
    /// Stops and restarts the backend of a pool, and prints what the callers noticed, as JSON.
    Outage {
        /// How often.
        #[arg(default_value_t = 20)]
        restarts: usize,
    },
    /// Sends requests to services over loopback in turns, and prints how many they answered a second, as JSON.
    Throughput {
        /// How many turns each service has.
        #[arg(default_value_t = 25)]
        rounds: usize,
    },
    /// Lets 1,000 tasks share one handle, and one `Mutex` of tokio, in turns, and prints how long they took, as JSON.
    Crowd {
        /// How many turns each has.
        #[arg(default_value_t = 25)]
        rounds: usize,
    },
    /// Checks a handle out of a pool and returns it, and does the same with a `Semaphore` and a stack, in turns, and
    /// prints how long they took, as JSON.
    Checkout {
        /// How many turns each has.
        #[arg(default_value_t = 25)]
        rounds: usize,
    },
    /// Lets 100,000 waiters leave a pool, and a `Semaphore`, in turns, and prints how long they took, as JSON.
    Departures {
        /// How many turns each has.
        #[arg(default_value_t = 25)]
        rounds: usize,
        /// Gives each wait for the `Semaphore` a deadline, as each wait for a pool has one.
        #[arg(long)]
        deadline: bool,
    },
    /// Opens scopes on two threads and counts on two others in turns, and prints how long each took, as JSON.
    Scaling {
        /// How many turns each has.
        #[arg(default_value_t = 51)]
        rounds: usize,
    },
    /// Serves until its standard input ends; prints its address, and at the end its statistics, as JSON.
    Serve,
    /// Measures connections to a private MariaDB, and prints the result as JSON.
    #[cfg(feature = "mysql")]
    #[command(subcommand)]
    Mysql(mysql::Part),
}

/// An operation that is measured. Those named `once-cell`, `lazy`, `plain`, `semaphore` and `stack` are floors: the
/// same work without reqscope.
#[derive(Clone, Copy, ValueEnum)]
enum Operation {
    ScopeUnused,
    ScopeFirst,
    ScopeFirstPlain,
    ScopeLater,
    ScopeOneOfMany,
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
    RouterPlain,
    RouterUnused,
    RouterUsed,
    PoolGet,
    PoolPlaces,
    PoolDropped,
    PoolValidated,
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
            Operation::ScopeFirstPlain => scope::first_plain(times),
            Operation::ScopeLater => scope::later(times),
            Operation::ScopeOneOfMany => scope::one_of_many(times),
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
            Operation::RouterPlain => router::plain(times),
            Operation::RouterUnused => router::unused(times),
            Operation::RouterUsed => router::used(times),
            Operation::PoolGet => pool::get(times),
            Operation::PoolPlaces => pool::places(times),
            Operation::PoolDropped => pool::dropped(times),
            Operation::PoolValidated => pool::validated(times),
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
            // Nothing here waits, but a handler always runs in a runtime.
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let _entered = runtime.enter();
            operation.repeat(times);
            Ok(())
        }
        Command::Memory { half } => memory::run(half),
        Command::Outage { restarts } => outage::run(restarts),
        Command::Throughput { rounds } => throughput::run(rounds),
        Command::Crowd { rounds } => crowd::run(rounds),
        Command::Checkout { rounds } => checkout::run(rounds),
        Command::Departures { rounds, deadline } => departures::run(rounds, deadline),
        Command::Scaling { rounds } => scaling::run(rounds),
        Command::Serve => server::run(),
        #[cfg(feature = "mysql")]
        Command::Mysql(part) => part.run(),
    }
}
