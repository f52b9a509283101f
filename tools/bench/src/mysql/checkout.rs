//! A connection checked out of a pool and returned, with and without a reset for its next user.
//!
//! With one connection in the pool, each caller waits for its reset. Both pools then ask the same of the server: one
//! COM_RESET_CONNECTION for each return, and nothing at check-out, where both only look whether the socket was closed.
//! The number of questions is counted on the server, so that this can be judged. With ten connections and a pause in
//! between no caller waits for a reset, and what remains is what each pool does on its caller's thread.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, ensure};
use mysql_async::{PoolConstraints, PoolOpts};
use reqscope::pool::Reset;
use reqscope::{Pool, Pooled};
use reqscope_mysql::MySql;
use reqscope_records::bench::{CheckoutRun, Questions};
use reqscope_testkit::MariaDb;
use tokio::time::sleep;

use super::bare;
use super::turns::{each, print_on_worker, timed};

/// Check-outs in one turn.
const CHECKOUTS: u32 = 200;
/// Check-outs in one turn with a pause after each, for its reset.
const SPACED: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);
const MANY: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures so many rounds, and prints them.
pub(super) fn run(rounds: usize) -> anyhow::Result<()> {
    print_on_worker(measure(rounds))
}

async fn measure(rounds: usize) -> anyhow::Result<CheckoutRun> {
    let server = MariaDb::start().await?;
    let mysql = || MySql::new(&server.url());
    let ours = |size: u32| Ok::<_, anyhow::Error>(Pool::builder().max_size(size as usize).build(mysql()?));
    let [one, many] = [ours(1)?, ours(MANY)?];
    let kept = Pool::builder().reset(Reset::AfterDoubt).max_size(1).build(mysql()?);
    let [driver_one, again_one] = [driver(&server, 1)?, driver(&server, 1)?];
    let [driver_many, again_many] = [driver(&server, MANY)?, driver(&server, MANY)?];
    fill(&many, MANY).await?;
    fill(&driver_many, MANY).await?;
    fill(&again_many, MANY).await?;

    let mut seen = CheckoutRun {
        server: server.query("SELECT VERSION()").await?,
        checkouts: CHECKOUTS.into(),
        questions: Questions {
            reqscope: questions(&server, &one).await?,
            driver: questions(&server, &driver_one).await?,
            kept: questions(&server, &kept).await?,
        },
        ..CheckoutRun::default()
    };
    for _ in 0..rounds {
        let (theirs, ours) = (in_a_row(&driver_one).await?, in_a_row(&one).await?);
        let (unreset, again) = (in_a_row(&kept).await?, in_a_row(&again_one).await?);
        seen.waited.push([ours, theirs, again]);
        seen.kept.push([unreset, theirs, again]);
        seen.aside.push([spaced(&many).await?, spaced(&driver_many).await?, spaced(&again_many).await?]);
    }

    for pool in [one, many, kept] {
        let drained = pool.close(PATIENCE).await;
        ensure!(drained.is_clean(), "something was not released: {drained:?}");
    }
    for pool in [driver_one, again_one, driver_many, again_many] {
        pool.disconnect().await?;
    }
    Ok(seen)
}

/// Returns the driver's own pool. It resets connections by default; the option is set in case that changes.
fn driver(server: &MariaDb, size: u32) -> anyhow::Result<mysql_async::Pool> {
    let constraints = PoolConstraints::new(size as usize, size as usize).context("as many as at most")?;
    let opts = PoolOpts::default().with_constraints(constraints).with_reset_connection(true);
    Ok(mysql_async::Pool::new(bare(server).pool_opts(opts)))
}

/// A pool, ours or the driver's.
trait Checkout: Sync {
    type Conn: Send;

    fn check_out(&self) -> impl Future<Output = anyhow::Result<Self::Conn>> + Send;

    fn check_in(&self, conn: Self::Conn);
}

impl Checkout for Pool<MySql> {
    type Conn = Pooled<MySql>;

    async fn check_out(&self) -> anyhow::Result<Pooled<MySql>> {
        Ok(self.get().await?)
    }

    fn check_in(&self, conn: Pooled<MySql>) {
        self.put(conn);
    }
}

impl Checkout for mysql_async::Pool {
    type Conn = mysql_async::Conn;

    async fn check_out(&self) -> anyhow::Result<mysql_async::Conn> {
        Ok(self.get_conn().await?)
    }

    fn check_in(&self, conn: mysql_async::Conn) {
        drop(conn);
    }
}

/// Makes the pool create all its connections.
async fn fill<P: Checkout>(pool: &P, size: u32) -> anyhow::Result<()> {
    let mut taken = Vec::new();
    for _ in 0..size {
        taken.push(pool.check_out().await?);
    }
    taken.into_iter().for_each(|conn| pool.check_in(conn));
    Ok(())
}

async fn check_out_and_return<P: Checkout>(pool: &P, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        pool.check_in(pool.check_out().await?);
    }
    Ok(())
}

async fn in_a_row<P: Checkout>(pool: &P) -> anyhow::Result<f64> {
    Ok(each(timed(check_out_and_return(pool, CHECKOUTS)).await?, CHECKOUTS))
}

async fn spaced<P: Checkout>(pool: &P) -> anyhow::Result<f64> {
    let mut took = Duration::ZERO;
    for _ in 0..SPACED {
        took += timed(check_out_and_return(pool, 1)).await?;
        sleep(PAUSE).await;
    }
    Ok(each(took, SPACED))
}

/// Counts the questions that the server is asked for the check-outs of one turn.
async fn questions<P: Checkout>(server: &MariaDb, pool: &P) -> anyhow::Result<i64> {
    let mut counted = Vec::new();
    for checkouts in [0, 0, CHECKOUTS] {
        check_out_and_return(pool, checkouts).await?;
        // The only connection of the pool is lent only after its reset.
        let conn = pool.check_out().await?;
        let status = server.query("SHOW GLOBAL STATUS LIKE 'Questions'").await?;
        counted.push(status.split_whitespace().last().context("a number")?.parse::<i64>()?);
        pool.check_in(conn);
    }
    // Between the first two counts the server was asked only what the counting itself takes.
    Ok(counted[2] - counted[1] - (counted[1] - counted[0]))
}
