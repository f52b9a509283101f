//! The same queries on one thread, for valgrind. The server runs in another process.

use std::io::{self, Read};
use std::time::Duration;

use clap::ValueEnum;
use mysql_async::{Conn, Opts};
use reqscope::{Exit, Resource};
use reqscope_mysql::MySql;
use reqscope_testkit::MariaDb;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::query;

/// As long as the default of ours.
const DEADLINE: Duration = Duration::from_secs(30);

/// Whose connection asks.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Connection {
    Reqscope,
    Driver,
    /// The driver's, with a deadline around each query.
    DriverInTime,
}

/// Runs a server until the standard input ends.
pub(super) fn serve() -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let server = runtime.block_on(MariaDb::start())?;
    println!("{}", server.url());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Asks so many queries, and nothing else.
pub(super) fn ask(connection: Connection, url: &str, times: usize) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let times = u32::try_from(times)?;
    runtime.block_on(async {
        match connection {
            Connection::Reqscope => {
                let mysql = MySql::new(url)?;
                let mut conn = mysql.acquire().await?;
                query::ask(&mut conn, times).await?;
                mysql.release(conn, Exit::Completed).await?;
            }
            Connection::Driver => {
                let mut conn = Conn::new(Opts::from_url(url)?).await?;
                query::ask(&mut conn, times).await?;
                conn.disconnect().await?;
            }
            Connection::DriverInTime => {
                let mut conn = Conn::new(Opts::from_url(url)?).await?;
                for number in 0..times {
                    timeout(DEADLINE, query::ask_one(&mut conn, number)).await??;
                }
                conn.disconnect().await?;
            }
        }
        Ok(())
    })
}
