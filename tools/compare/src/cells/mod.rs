//! Lazy cells: one handle for one request, acquired on first use.

pub(crate) mod events;
pub(crate) mod cell;
pub(crate) mod contenders;
pub(crate) mod judge;
pub(crate) mod rows;
pub(crate) mod source;
pub(crate) mod stage;
pub(crate) mod work;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use reqscope_records::compare::ContenderInfo;

use crate::list::info;
use crate::work::rounds::rounds;
use cell::LazyCell;
use contenders::{Name, Visitor};
use rows::Row;
use work::Operation;

#[derive(Subcommand)]
pub(crate) enum Cells {
    /// Repeats one operation on a lazy cell, for valgrind.
    #[command(name = "cell-run")]
    Run {
        operation: Operation,
        contender: Name,
        /// How often.
        times: usize,
    },
    /// Measures one operation in rounds, and prints nanoseconds as JSON.
    #[command(name = "cell-time")]
    Time {
        operation: Operation,
        #[command(flatten)]
        turns: Turns,
    },
    /// Prints the contenders and their versions, as JSON.
    #[command(name = "cell-list")]
    List,
    /// Prints the rows of the honesty table, as JSON.
    #[command(name = "cell-rows")]
    Rows,
    /// Causes one fault on one contender, in a process of its own, and prints the verdict as JSON.
    #[command(name = "cell-fault")]
    Fault(judge::Fault),
}

/// Which contenders, and how many rounds.
#[derive(Args)]
pub(crate) struct Turns {
    /// The contenders; all of them if none is named.
    contenders: Vec<Name>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each turn is, in milliseconds.
    #[arg(long, default_value_t = 100)]
    time: u64,
}

impl Cells {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Cells::Run { operation, contender, times } => contender.visit(work::Run { operation, times }),
            Cells::Time { operation, turns } => {
                let Turns { contenders, rounds: times, time } = turns;
                let contenders = if contenders.is_empty() { Name::value_variants() } else { &contenders };
                let turn = work::Turn { operation, time: Duration::from_millis(time) };
                let rounds = rounds(contenders, times, |name| name.visit(turn).map(Some))?;
                println!("{}", serde_json::to_string(&rounds)?);
                Ok(())
            }
            Cells::List => {
                let all: Vec<ContenderInfo> =
                    Name::value_variants().iter().map(|name| name.visit(Listing(*name))).collect();
                println!("{}", serde_json::to_string_pretty(&all)?);
                Ok(())
            }
            Cells::Rows => Row::print(),
            Cells::Fault(fault) => fault.run(),
        }
    }
}

struct Listing(Name);

impl Visitor for Listing {
    type Output = ContenderInfo;

    fn visit<C: LazyCell>(self) -> ContenderInfo {
        info(self.0.to_string(), C::TITLE, Some(C::PACKAGE))
    }
}
