//! What reqscope makes of MySQL connections, beside what the driver by itself does: on one private MariaDB, in turns.

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

use instructions::Whose;

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Part {
    /// Takes connections out of pools and gives them back.
    Checkout {
        /// How often each pool has its turn.
        #[arg(default_value_t = 101)]
        rounds: usize,
    },
    /// Asks prepared queries.
    Query {
        /// How often each connection has its turn.
        #[arg(default_value_t = 101)]
        rounds: usize,
    },
    /// Stops the server under a pool and starts it again.
    Recovery {
        /// How often.
        #[arg(default_value_t = 20)]
        restarts: usize,
    },
    /// Freezes the server under a pool and thaws it.
    Frozen {
        /// How often.
        #[arg(default_value_t = 5)]
        freezes: usize,
    },
    /// Runs a server until the standard input ends, and prints its URL.
    Serve,
    /// Asks the server at this URL prepared queries and does nothing else, for whoever counts from outside.
    Ask { whose: Whose, url: String, times: usize },
}

impl Part {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Part::Checkout { rounds } => checkout::run(rounds),
            Part::Query { rounds } => query::run(rounds),
            Part::Recovery { restarts } => recovery::run(restarts),
            Part::Frozen { freezes } => frozen::run(freezes),
            Part::Serve => instructions::serve(),
            Part::Ask { whose, url, times } => instructions::ask(whose, &url, times),
        }
    }
}

/// For the driver by itself: over TCP, as ours are. By default it would move to the Unix socket.
fn bare(server: &MariaDb) -> OptsBuilder {
    let opts = Opts::from_url(&server.url()).expect("the server's own URL");
    OptsBuilder::from_opts(opts).prefer_socket(false)
}
