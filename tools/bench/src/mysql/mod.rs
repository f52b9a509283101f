//! Measures MySQL connections of reqscope and of the driver alone, in turns, on one private MariaDB.

mod apart;
mod checkout;
mod frozen;
mod instructions;
mod query;
mod recovery;
mod turns;

use clap::Subcommand;
use mysql_async::{Opts, OptsBuilder};
use reqscope_testkit::MariaDb;

use instructions::Connection;

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Part {
    /// Checks connections out of pools and returns them.
    Checkout {
        /// How many turns each pool has.
        #[arg(default_value_t = 101)]
        rounds: usize,
    },
    /// Asks prepared queries.
    Query {
        /// How many turns each connection has.
        #[arg(default_value_t = 101)]
        rounds: usize,
    },
    /// Stops and restarts the server of a pool.
    Recovery {
        /// How often.
        #[arg(default_value_t = 20)]
        restarts: usize,
    },
    /// Freezes and thaws the server of a pool.
    Frozen {
        /// How often.
        #[arg(default_value_t = 5)]
        freezes: usize,
    },
    /// Runs a server until the standard input ends, and prints its URL.
    Serve,
    /// Asks the server at this URL prepared queries and does nothing else, for valgrind.
    Ask { connection: Connection, url: String, times: usize },
}

impl Part {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Part::Checkout { rounds } => checkout::run(rounds),
            Part::Query { rounds } => query::run(rounds),
            Part::Recovery { restarts } => recovery::run(restarts),
            Part::Frozen { freezes } => frozen::run(freezes),
            Part::Serve => instructions::serve(),
            Part::Ask { connection, url, times } => instructions::ask(connection, &url, times),
        }
    }
}

/// Returns options for the driver alone: over TCP, as ours. By default it would move to the Unix socket.
fn bare(server: &MariaDb) -> OptsBuilder {
    let opts = Opts::from_url(&server.url()).expect("the server's own URL");
    OptsBuilder::from_opts(opts).prefer_socket(false)
}
