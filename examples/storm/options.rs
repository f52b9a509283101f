//! The command line.
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Attack a server with clients that hang up at random moments, and account for every handle
#[derive(Parser)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The clients alone, against a server that answers the storm's paths
    Attack(Attack),
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
    /// How many connections are open at once, each driven by a thread
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) connections: u16,
    /// Draws the same fates again; a random one by default, which the report names
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Writes all of the report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

fn address(given: &str) -> std::io::Result<SocketAddr> {
    given.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable.into())
}
