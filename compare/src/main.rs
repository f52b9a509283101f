//! What `cargo xtask compare` runs: the same work and the same faults on reqscope and on what people use today.

mod backend;
mod contender;
mod contenders;
mod list;
#[allow(dead_code, reason = "the scripts that judge by it come next")]
mod verdict;
mod work;

use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use contenders::Name;
use work::contended;

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
    /// 64 tasks on 8 objects on 2 workers, in interleaved rounds; prints JSON.
    Contended {
        /// Who; all if nobody is named.
        contenders: Vec<Name>,
        /// How many rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// How long each contender gets in each round, in milliseconds.
        #[arg(long, default_value_t = 400)]
        time: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::List => list::print(),
        Command::Contended { contenders, rounds, time } => {
            let contenders = if contenders.is_empty() { Name::value_variants() } else { &contenders };
            for _ in 0..rounds {
                for contender in contenders {
                    let outcome = contender.visit(contended::Round(Duration::from_millis(time)))?;
                    println!("{contender:?}: {}", serde_json::to_string(&outcome)?);
                }
            }
            Ok(())
        }
    }
}
