//! The storm: a real server on a real database, thousands of clients that hang up at random moments, and every
//! handle accounted for.
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
//! It ends with a table and exit code 0, or with the broken invariants by name and exit code 1. A storm that never
//! cut a handler in one of its stages has proved nothing, so that is a broken invariant too.
mod client;
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
use options::{Attack, Command, Options, Serve, Server};
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
            tell(&client::attack::run(target, &load)?, load.json.as_deref())
        }
        None => tell(&in_process::run(options.server, &options.load)?, options.load.json.as_deref()),
    }
}

/// Serves until ctrl-c.
#[tokio::main]
async fn serve(settings: Server, port: u16) -> Result<ExitCode> {
    let listener = server::bind(port).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nobody can say when to stop: kill it.
            pending().await
        }
    };
    let served = server::run(settings, listener, ctrl_c).await?;
    println!("{served:?}");
    Ok(if served.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
