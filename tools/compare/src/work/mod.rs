//! The work: what each contender costs, how fast it is, and how fairly it serves.
//!
//! Each row has a file. A row is measured in rounds, in which each contender has a turn, and prints them as JSON;
//! `cargo xtask compare` computes the figures. Instructions, allocations and bytes are counted by valgrind, over
//! [`run`].

pub(crate) mod cancelled;
pub(crate) mod contended;
pub(crate) mod counting;
pub(crate) mod leave;
pub(crate) mod rounds;
pub(crate) mod run;
pub(crate) mod storm;
pub(crate) mod uncontended;
pub(crate) mod waits;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use reqscope_records::compare::Round;
use serde::Serialize;

use crate::contenders::Name;
use rounds::rounds;
use run::Operation;

#[derive(Subcommand)]
pub(crate) enum Work {
    /// Repeats one operation, for valgrind.
    Run {
        operation: Operation,
        contender: Name,
        /// How often.
        times: usize,
    },
    /// Measures get and return by the only task of a pool, in nanoseconds.
    Uncontended {
        /// Validates the handle each time.
        #[arg(long)]
        validates: bool,
        #[command(flatten)]
        turns: Turns,
    },
    /// Measures 64 tasks on 8 handles on 2 workers, without a clock: how many operations, and how evenly they are
    /// spread.
    Contended(Turns),
    /// Measures how long the same tasks wait.
    Waits(Turns),
    /// Measures 1000 waiters on 8 handles, of which every second one leaves.
    Cancelled(Turns),
    /// Measures 1000 gets at once on an empty pool of 100 whose handles take a millisecond to create.
    Storm(Turns),
}

/// Which contenders, and how many rounds.
#[derive(Args)]
pub(crate) struct Turns {
    /// The contenders; all of them if none is named.
    contenders: Vec<Name>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each turn is, in milliseconds, if the row has a time.
    #[arg(long, default_value_t = 300)]
    time: u64,
}

impl Turns {
    fn time(&self) -> Duration {
        Duration::from_millis(self.time)
    }

    fn print<T: Serialize>(&self, measure: impl Fn(Name) -> anyhow::Result<Option<T>>) -> anyhow::Result<()> {
        let contenders = if self.contenders.is_empty() { Name::value_variants() } else { &self.contenders };
        let measure = |name: Name| measure(name).with_context(|| format!("{name:?}"));
        let rounds: Vec<Round<T>> = rounds(contenders, self.rounds, measure)?;
        println!("{}", serde_json::to_string(&rounds)?);
        Ok(())
    }
}

impl Work {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Work::Run { operation, contender, times } => contender.visit(run::Run { operation, times }),
            Work::Uncontended { validates, turns } => {
                let turn = |name: Name| name.visit(uncontended::Turn { validates, time: turns.time() });
                turns.print(|name| turn(name).map(Some))
            }
            Work::Contended(turns) => turns.print(|name| name.visit(contended::Turn(turns.time()))),
            Work::Waits(turns) => turns.print(|name| name.visit(waits::Turn(turns.time()))),
            Work::Cancelled(turns) => turns.print(|name| name.visit(cancelled::Turn)),
            Work::Storm(turns) => turns.print(|name| name.visit(storm::Turn)),
        }
    }
}
