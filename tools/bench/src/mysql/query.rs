//! A prepared query over a connection of ours, and over one of the driver alone.

use std::time::Duration;

use anyhow::ensure;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reqscope::{Exit, Resource};
use reqscope_mysql::{MySql, MySqlConn};
use reqscope_records::bench::QueryRun;
use reqscope_testkit::MariaDb;
use tokio::time::sleep;

use super::apart::set_apart;
use super::bare;
use super::turns::{each, print_on_worker, timed};

/// Queries in one turn.
const QUERIES: u32 = 500;
/// Queries before the first turn, so that the statement is prepared and the server's thread is warm.
const FIRST: u32 = 20;

/// Measures so many rounds, and prints them.
pub(super) fn run(rounds: usize) -> anyhow::Result<()> {
    print_on_worker(measure(rounds))
}

async fn measure(rounds: usize) -> anyhow::Result<QueryRun> {
    let server = MariaDb::start().await?;
    set_apart(&server)?;
    let mysql = MySql::new(&server.url())?;
    let mut seen = QueryRun::default();
    for _ in 0..rounds {
        // New connections each time, so that chance differences between connections, in either process, change sides.
        let mut ours = mysql.acquire().await?;
        let (mut driver, mut again) = (Conn::new(bare(&server)).await?, Conn::new(bare(&server)).await?);
        ask(&mut ours, FIRST).await?;
        ask(&mut driver, FIRST).await?;
        ask(&mut again, FIRST).await?;

        let ticking = tokio::spawn(tick());
        seen.ticking.push(turn(&mut ours, &mut driver, &mut again).await?);
        ticking.abort();
        ensure!(ticking.await.is_err(), "the timer has ended");
        seen.still.push(turn(&mut ours, &mut driver, &mut again).await?);

        mysql.release(ours, Exit::Completed).await?;
        driver.disconnect().await?;
        again.disconnect().await?;
    }
    Ok(seen)
}

/// Keeps a timer on the runtime, as every pool of ours and nearly every server does.
///
/// While there is a timer, each wait of the runtime asks the system to wake it in time, which costs more than
/// everything else that a deadline takes. Without this timer only our side would pay for that.
async fn tick() {
    loop {
        sleep(Duration::from_millis(100)).await;
    }
}

async fn turn(ours: &mut MySqlConn, driver: &mut Conn, again: &mut Conn) -> anyhow::Result<[f64; 3]> {
    let took =
        [timed(ask(ours, QUERIES)).await?, timed(ask(driver, QUERIES)).await?, timed(ask(again, QUERIES)).await?];
    Ok(took.map(|took| each(took, QUERIES)))
}

/// Asks queries one after the other.
pub(super) async fn ask<C: Queryable>(conn: &mut C, queries: u32) -> anyhow::Result<()> {
    for number in 0..queries {
        ask_one(conn, number).await?;
    }
    Ok(())
}

pub(super) async fn ask_one<C: Queryable>(conn: &mut C, number: u32) -> anyhow::Result<()> {
    let answer: Option<u32> = conn.exec_first("SELECT ?", (number,)).await?;
    ensure!(answer == Some(number), "it was asked for {number} and answered {answer:?}");
    Ok(())
}
