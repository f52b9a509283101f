//! A prepared query over a connection of ours, and over the driver's bare one.

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
use super::turns::{each, play, timed};

/// In one turn.
const QUERIES: u32 = 500;
/// Before its first one: the statement is prepared, and the server's thread is warm.
const FIRST: u32 = 20;

/// Prints what so many rounds gave.
pub(super) fn run(rounds: usize) -> anyhow::Result<()> {
    play(watch(rounds))
}

async fn watch(rounds: usize) -> anyhow::Result<QueryRun> {
    let server = MariaDb::start().await?;
    set_apart(&server)?;
    let mysql = MySql::new(&server.url())?;
    let mut seen = QueryRun::default();
    for _ in 0..rounds {
        // New ones each time: what one connection has by chance over another, in either process, changes sides.
        let mut ours = mysql.acquire().await?;
        let (mut driver, mut again) = (Conn::new(bare(&server)).await?, Conn::new(bare(&server)).await?);
        ask(&mut ours, FIRST).await?;
        ask(&mut driver, FIRST).await?;
        ask(&mut again, FIRST).await?;

        let ticking = tokio::spawn(tick());
        seen.ticking.push(turn(&mut ours, &mut driver, &mut again).await?);
        ticking.abort();
        ensure!(ticking.await.is_err(), "it ticks for ever");
        seen.still.push(turn(&mut ours, &mut driver, &mut again).await?);

        mysql.release(ours, Exit::Completed).await?;
        driver.disconnect().await?;
        again.disconnect().await?;
    }
    Ok(seen)
}

/// Such a timer has every pool of ours, and nearly every server. While there is one, each wait of the runtime asks the
/// system to wake it in time, and that costs more than all else that a deadline takes. Without this one our deadlines
/// would be charged with what both pay there.
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

/// Asks so many queries, one after the other.
pub(super) async fn ask<C: Queryable>(conn: &mut C, queries: u32) -> anyhow::Result<()> {
    for number in 0..queries {
        let answer: Option<u32> = conn.exec_first("SELECT ?", (number,)).await?;
        ensure!(answer == Some(number), "it was asked for {number} and answered {answer:?}");
    }
    Ok(())
}
