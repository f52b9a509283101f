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
/// Without a command: the server, on a loopback port, and its clients in one process.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The server alone, for any client. It runs until it is told to stop (ctrl-c)
    Serve(Serve),
    /// The clients alone, against a server that answers the storm's paths
    Attack(Attack),
}

#[derive(Args)]
pub(crate) struct Serve {
    /// The loopback port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct Attack {
    /// The server's address, such as 127.0.0.1:8080
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) target: SocketAddr,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// What the clients do.
#[derive(Args)]
pub(crate) struct Load {
    /// How many fates to draw
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: u64,
    /// How many clients there are at once, each with a connection; over HTTP/2 four share one until they hang up
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) connections: u16,
    /// The clients speak HTTP/2, without being asked to
    #[arg(long)]
    pub(crate) http2: bool,
    /// Draws the same fates again; a random one by default, which the report names
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Writes all of the report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Load {
    pub(crate) fn protocol(&self) -> Protocol {
        if self.http2 { Protocol::Http2 } else { Protocol::Http1 }
    }
}

/// What the server does.
#[derive(Args)]
pub(crate) struct Server {
    /// What stands between the connections and the handlers
    #[arg(long, value_enum, default_value_t)]
    pub(crate) stack: Stack,
    /// What the handlers share
    #[arg(long, value_enum, default_value_t)]
    pub(crate) resource: Kind,
    /// The database of `--resource mysql`, in which the storm makes tables of its own and removes them at its end; by
    /// default it starts a private MariaDB
    #[arg(long, value_name = "MYSQL-URL")]
    pub(crate) url: Option<String>,
    /// How many connections the handlers share, where there is a database
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) pool: u16,
    /// Every handler first waits this long at most
    #[arg(long, value_name = "MS", default_value = "5", value_parser = milliseconds)]
    pub(crate) pre_ms: Duration,
    /// An acquisition takes this long at most, besides its own work
    #[arg(long, value_name = "MS", default_value = "5", value_parser = milliseconds)]
    pub(crate) acquire_ms: Duration,
    /// A handler holds its handle this long at most
    #[arg(long, value_name = "MS", default_value = "3", value_parser = milliseconds)]
    pub(crate) work_ms: Duration,
    /// Makes the server wrong on purpose, to prove that the storm can fail
    #[arg(long, value_enum, value_name = "FAULT")]
    pub(crate) r#break: Option<Fault>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A number in memory: nothing but reqscope itself is tried
    Counter,
    /// A database in a temporary file, through a pool
    #[default]
    Sqlite,
    /// MySQL or MariaDB, through a pool; needs a storm built with `--features mysql`
    Mysql,
}

/// A mistake that a handler makes now and then.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// A guard is forgotten
    Leak,
    /// A handle is given back by hand, and then by the scope
    Double,
    /// A tag is written outside of the transaction
    Cross,
    /// A connection is handed on after a statement was cut, with its answer to come (MySQL)
    Shift,
    /// A statement that was cut is not stopped on the server (MySQL)
    Orphan,
}

impl Server {
    /// # Errors
    ///
    /// If it asks for what was not built, or for what its resource does not have.
    pub(crate) fn check(&self) -> Result<()> {
        let is_mysql = self.resource == Kind::Mysql;
        let breaks_mysql = matches!(self.r#break, Some(Fault::Shift | Fault::Orphan));
        ensure!(
            cfg!(feature = "axum") || self.stack != Stack::Axum,
            "this storm was built without axum: say `--features axum` to cargo"
        );
        ensure!(
            cfg!(feature = "mysql") || !is_mysql,
            "this storm was built without MySQL: say `--features mysql` to cargo"
        );
        ensure!(is_mysql || self.url.is_none(), "--url names a database of MySQL: say --resource mysql, too");
        ensure!(is_mysql || !breaks_mysql, "only --resource mysql can break so");
        Ok(())
    }
}

fn milliseconds(given: &str) -> Result<Duration, std::num::ParseIntError> {
    given.parse().map(Duration::from_millis)
}

fn address(given: &str) -> std::io::Result<SocketAddr> {
    given.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable.into())
}
