//! A connection taken out of a pool and given back, with a reset for its next user and without.
//!
//! With one connection in the pool whoever takes it waits for its reset. Both pools have the server do the same then: one
//! COM_RESET_CONNECTION for each return, and nothing on the way out, where both only look whether the socket was closed.
//! How many questions the server was asked is counted there, so that it can be judged. With ten connections and
//! some time in between nobody waits for a reset, and what is left is what each pool does on its caller's thread.

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
use super::turns::{each, play, timed};

/// In one turn.
const CHECKOUTS: u32 = 200;
/// The same, where there is a pause after each, for its reset.
const SPACED: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);
const MANY: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what so many rounds gave.
pub(super) fn run(rounds: usize) -> anyhow::Result<()> {
    play(watch(rounds))
}

async fn watch(rounds: usize) -> anyhow::Result<CheckoutRun> {
    let server = MariaDb::start().await?;
    let mysql = || MySql::new(&server.url());
    let ours = |size: u32| Ok::<_, anyhow::Error>(MySql::pool_builder().max_size(size as usize).build(mysql()?));
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
        ensure!(drained.is_clean(), "something is held for ever: {drained:?}");
    }
    for pool in [driver_one, again_one, driver_many, again_many] {
        pool.disconnect().await?;
    }
    Ok(seen)
}

/// The driver's own pool, which resets by default; told so, should that ever change.
fn driver(server: &MariaDb, size: u32) -> anyhow::Result<mysql_async::Pool> {
    let constraints = PoolConstraints::new(size as usize, size as usize).context("as many as at most")?;
    let opts = PoolOpts::default().with_constraints(constraints).with_reset_connection(true);
    Ok(mysql_async::Pool::new(bare(server).pool_opts(opts)))
}

/// A pool, ours or the driver's.
trait Checkout: Sync {
    type Conn: Send;

    fn take(&self) -> impl Future<Output = anyhow::Result<Self::Conn>> + Send;

    fn give_back(&self, conn: Self::Conn);
}

impl Checkout for Pool<MySql> {
    type Conn = Pooled<MySql>;

    async fn take(&self) -> anyhow::Result<Pooled<MySql>> {
        Ok(self.get().await?)
    }

    fn give_back(&self, conn: Pooled<MySql>) {
        self.put(conn);
    }
}

impl Checkout for mysql_async::Pool {
    type Conn = mysql_async::Conn;

    async fn take(&self) -> anyhow::Result<mysql_async::Conn> {
        Ok(self.get_conn().await?)
    }

    fn give_back(&self, conn: mysql_async::Conn) {
        drop(conn);
    }
}

/// Has it make all its connections.
async fn fill<P: Checkout>(pool: &P, size: u32) -> anyhow::Result<()> {
    let mut taken = Vec::new();
    for _ in 0..size {
        taken.push(pool.take().await?);
    }
    taken.into_iter().for_each(|conn| pool.give_back(conn));
    Ok(())
}

async fn take_and_give_back<P: Checkout>(pool: &P, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        pool.give_back(pool.take().await?);
    }
    Ok(())
}

async fn in_a_row<P: Checkout>(pool: &P) -> anyhow::Result<f64> {
    Ok(each(timed(take_and_give_back(pool, CHECKOUTS)).await?, CHECKOUTS))
}

async fn spaced<P: Checkout>(pool: &P) -> anyhow::Result<f64> {
    let mut took = Duration::ZERO;
    for _ in 0..SPACED {
        took += timed(take_and_give_back(pool, 1)).await?;
        sleep(PAUSE).await;
    }
    Ok(each(took, SPACED))
}

/// How many the server is asked for as many checkouts as are in a turn.
async fn questions<P: Checkout>(server: &MariaDb, pool: &P) -> anyhow::Result<i64> {
    let mut counted = Vec::new();
    for checkouts in [0, 0, CHECKOUTS] {
        take_and_give_back(pool, checkouts).await?;
        // Whoever has the only connection knows that it has been reset.
        let conn = pool.take().await?;
        let status = server.query("SHOW GLOBAL STATUS LIKE 'Questions'").await?;
        counted.push(status.split_whitespace().last().context("a number")?.parse::<i64>()?);
        pool.give_back(conn);
    }
    // Between the first two the server was asked what the counting itself takes, and nothing else.
    Ok(counted[2] - counted[1] - (counted[1] - counted[0]))
}
