//! The command line.
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::client::protocol::Protocol;
use crate::server::stack::Stack;

/// Attack a server with clients that hang up at random moments, and account for every handle
///
/// Without a command, the server and its clients run in one process, over a loopback port.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) load: LoadOptions,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The server alone, for any client. It runs until ctrl-c
    Serve(Serve),
    /// The clients alone, against a server that has the storm's paths
    Attack(Attack),
}

#[derive(Args)]
pub(crate) struct Serve {
    /// The loopback port to listen on; 0 for a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Args)]
pub(crate) struct Attack {
    /// The server's address, such as 127.0.0.1:8080
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) target: SocketAddr,
    #[command(flatten)]
    pub(crate) load: LoadOptions,
}

/// Options for the clients.
#[derive(Args)]
pub(crate) struct LoadOptions {
    /// How many scenarios to play
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: u64,
    /// How many clients there are at once, each with a connection; over HTTP/2 four share one until they hang up
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) connections: u16,
    /// The clients speak HTTP/2, with prior knowledge
    #[arg(long)]
    pub(crate) http2: bool,
    /// The seed of the scenarios; random by default. The report names it
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Writes the whole report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl LoadOptions {
    pub(crate) fn protocol(&self) -> Protocol {
        if self.http2 { Protocol::Http2 } else { Protocol::Http1 }
    }
}

/// Options for the server.
#[derive(Args)]
pub(crate) struct ServerOptions {
    /// The stack between the connections and the handlers
    #[arg(long, value_enum, default_value_t)]
    pub(crate) stack: Stack,
    /// The resource that the handlers share
    #[arg(long, value_enum, default_value_t)]
    pub(crate) resource: ResourceKind,
    /// The database for `--resource mysql`, in which the storm creates tables of its own and removes them at the end;
    /// by default it starts a private MariaDB
    #[arg(long, value_name = "MYSQL-URL")]
    pub(crate) url: Option<String>,
    /// The size of the pool, if there is a database
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) pool: u16,
    /// The longest time that a handler waits before it uses anything
    #[arg(long, value_name = "MS", default_value = "5", value_parser = milliseconds)]
    pub(crate) pre_ms: Duration,
    /// The longest delay of an acquisition, besides its own work
    #[arg(long, value_name = "MS", default_value = "5", value_parser = milliseconds)]
    pub(crate) acquire_ms: Duration,
    /// The longest time that a handler holds its handle
    #[arg(long, value_name = "MS", default_value = "3", value_parser = milliseconds)]
    pub(crate) work_ms: Duration,
    /// Breaks the server on purpose, to prove that the storm can fail
    #[arg(long, value_enum, value_name = "FAULT")]
    pub(crate) r#break: Option<Fault>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResourceKind {
    /// A number in memory, to test nothing but reqscope itself
    Memory,
    /// A database in a temporary file, through a pool
    #[default]
    Sqlite,
    /// MySQL or MariaDB, through a pool; needs a storm built with `--features mysql`
    Mysql,
}

/// A mistake that the server makes now and then.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// A guard is forgotten
    Leak,
    /// A handle is released by hand, and then by the scope
    Double,
    /// A tag is written outside of its transaction
    Cross,
    /// A connection is reused after a statement was cut, with the answer still to come (MySQL)
    Shift,
    /// A statement that was cut is not stopped on the server (MySQL)
    Orphan,
}

impl ServerOptions {
    /// Checks that the options fit each other and this build.
    ///
    /// # Errors
    ///
    /// If they name a feature that was not built, or one that the resource does not have.
    pub(crate) fn check(&self) -> Result<()> {
        let is_mysql = self.resource == ResourceKind::Mysql;
        let breaks_mysql = matches!(self.r#break, Some(Fault::Shift | Fault::Orphan));
        ensure!(
            cfg!(feature = "axum") || self.stack != Stack::Axum,
            "this storm was built without axum: build it with `--features axum`"
        );
        ensure!(
            cfg!(feature = "mysql") || !is_mysql,
            "this storm was built without MySQL: build it with `--features mysql`"
        );
        ensure!(is_mysql || self.url.is_none(), "--url needs --resource mysql");
        ensure!(is_mysql || !breaks_mysql, "this fault needs --resource mysql");
        Ok(())
    }
}

fn milliseconds(given: &str) -> Result<Duration, std::num::ParseIntError> {
    given.parse().map(Duration::from_millis)
}

fn address(given: &str) -> std::io::Result<SocketAddr> {
    given.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable.into())
}
