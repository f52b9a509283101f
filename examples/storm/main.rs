//! The storm: a real server on a real database, thousands of clients that hang up at random moments, and every
//! handle accounted for.
//!
//! ```text
//! cargo run --release --example storm -- attack --target [::1]:8080 the clients alone, against any such server
//! ```
//!
//! It ends with a table and exit code 0, or with the broken invariants by name and exit code 1. A storm that never
//! cut a handler in one of its stages has proved nothing, so that is a broken invariant too.
mod attack;
mod client;
mod fate;
mod invariants;
mod options;
mod report;
mod response;
mod stats;
mod tally;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use invariants::Invariant;
use options::{Attack, Command, Options};
use report::Report;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("storm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<ExitCode> {
    match options.command {
        Command::Attack(Attack { target, load }) => tell(&attack::run(target, &load)?, load.json.as_deref()),
    }
}

/// Shows the report, and names what is broken where even a program's log will have it: in the last lines.
fn tell(report: &Report, json: Option<&Path>) -> Result<ExitCode> {
    println!("{report}");
    if let Some(file) = json {
        report.write(file)?;
    }
    for Invariant { name, found, .. } in report.broken() {
        eprintln!("storm: broken: {name}: {found}");
    }
    Ok(if report.broken().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
