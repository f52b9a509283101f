//! The storm: a real server on a real database, thousands of clients that hang up at random moments, and a check that
//! every handle is accounted for.
//!
//! ```text
//! cargo run --release --example storm                               the whole storm in one process
//! cargo run --release --example storm -- --http2                    the same over HTTP/2
//! cargo run --release --example storm --features axum -- --stack axum    the same on axum
//! cargo run --release --example storm --features mysql -- --resource mysql    the same on a private MariaDB
//! cargo run --release --example storm -- serve --port 8080          the server alone, for any client
//! cargo run --release --example storm -- attack --target [::1]:8080 the clients alone, against any such server
//! ```
//!
//! It ends with a table and exit code 0, or with the names of the broken invariants and exit code 1. A storm that never
//! cuts a handler in one of its stages proves nothing about that stage, so this breaks an invariant, too.
mod client;
mod findings;
mod in_process;
mod invariants;
mod options;
mod report;
mod server;
mod store;

use std::future::pending;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use invariants::Invariant;
use options::{Attack, Command, Options, Serve, ServerOptions};
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
        Some(Command::Serve(Serve { port, server })) => serve(server, port),
        Some(Command::Attack(Attack { target, load })) => {
            print(&client::attack::run(target, &load)?, load.json.as_deref())
        }
        None => print(&in_process::run(options.server, &options.load)?, options.load.json.as_deref()),
    }
}

/// Serves until ctrl-c.
#[tokio::main]
async fn serve(settings: ServerOptions, port: u16) -> Result<ExitCode> {
    let listener = server::bind(port).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // There is no signal to wait for: the process has to be killed.
            pending().await
        }
    };
    let shutdown = server::run(settings, listener, ctrl_c).await?;
    println!("{shutdown:?}");
    Ok(if shutdown.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the report, and names the broken invariants in the last lines, where a log is read first.
fn print(report: &Report, json: Option<&Path>) -> Result<ExitCode> {
    println!("{report}");
    if let Some(file) = json {
        report.write(file)?;
    }
    for Invariant { name, found, .. } in report.broken() {
        eprintln!("storm: broken: {name}: {found}");
    }
    Ok(if report.broken().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
