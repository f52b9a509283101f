//! A store in MySQL or MariaDB, on a private server or in a database that the command line names.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqscope::pool::PoolBuilder;
use reqscope::{Lease, Pool, Pooled, Resource};
use reqscope_mysql::mysql_async::Row;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError, OpenTransaction, Transaction};

use crate::options::{Fault, ServerOptions};
use crate::server::accounting::Accounting;
use crate::server::shutdown::PoolShutdown;
use crate::server::stats::{self, Database};
use crate::server::tracked::Tracked;
use crate::store::nonce::Nonce;
use crate::store::{self, Store, Tags};
use monitor::Monitor;
use registry::{AnyConnection, Registered, Registry};
use server::DatabaseServer;
pub(crate) use unchecked::UncheckedStore;

mod monitor;
mod registry;
mod server;
mod unchecked;

/// The tables. Those that a killed storm has left are removed first.
const SCHEMA: [&str; 4] = [
    REMOVE,
    "CREATE TABLE reqscope_storm_latest (tag INT UNSIGNED NOT NULL, slow DOUBLE NOT NULL, id INT PRIMARY KEY) \
     ENGINE = InnoDB",
    "CREATE TABLE reqscope_storm_tags (tag INT UNSIGNED NOT NULL, question INT UNSIGNED NOT NULL, \
     PRIMARY KEY (tag, question)) ENGINE = InnoDB",
    "INSERT INTO reqscope_storm_latest VALUES (0, 0, 1)",
];
const REMOVE: &str = "DROP TABLE IF EXISTS reqscope_storm_latest, reqscope_storm_tags";

/// Allows one storm in each database. The lock ends with its connection.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('reqscope_storm.', DATABASE()), 0)";

/// How long the last connections may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The connections are tracked below the pool, and their uses above it.
type Connections = Pool<Tracked<Registered<MySql>>>;

pub(crate) struct MySqlStore {
    /// Connections for the storm itself, which are not tracked.
    own: Arc<MySql>,
    singles: Arc<store::Single<Self>>,
    transactions: Arc<store::Transaction<Self>>,
    pool: Arc<Connections>,
    /// The counters of the connections, not of their uses.
    connections: Arc<Accounting>,
    registry: Arc<Registry>,
    monitor: Monitor,
    database: DatabaseServer,
}

impl MySqlStore {
    pub(crate) async fn open(options: &ServerOptions, accounting: &Arc<Accounting>) -> Result<MySqlStore> {
        let database = DatabaseServer::find(options).await?;
        let own = Arc::new(MySql::new(database.url())?);
        let mut conn = Lease::acquire(&own).await.context("cannot connect to the database")?;
        create_tables(&mut conn, options.work_ms).await.context("cannot create the tables")?;

        let (registry, connections) = (Arc::default(), Arc::new(Accounting::new()));
        let mysql = Registered::new(MySql::new(database.url())?, &registry, options.r#break == Some(Fault::Orphan));
        let pool = pool(options).build(Tracked::new(mysql, &connections, Duration::ZERO));
        let pool = Arc::new(pool);
        let singles = Arc::new(Tracked::new(Arc::clone(&pool), accounting, options.acquire_ms));
        let transactions = Transaction::new(Arc::clone(&pool));
        let transactions = Arc::new(Tracked::new(transactions, accounting, options.acquire_ms));
        let monitor = Monitor::start(conn, &registry);
        Ok(MySqlStore { own, singles, transactions, pool, connections, registry, monitor, database })
    }
}

fn pool<R: Resource>(options: &ServerOptions) -> PoolBuilder<R> {
    Pool::builder().max_size(options.pool.into()).acquire_timeout(store::acquire_timeout(options))
}

/// Takes the lock and creates the tables. A statement that reads takes at most `slow`.
async fn create_tables(conn: &mut MySqlConn, slow: Duration) -> Result<()> {
    let locked: Option<Option<u8>> = conn.query_first(LOCK).await.map_err(MySqlError::from)?;
    ensure!(locked.flatten() == Some(1), "another storm is in this database, or the URL names none");
    for statement in SCHEMA {
        conn.query_drop(statement).await.map_err(MySqlError::from)?;
    }
    let slow = format!("UPDATE reqscope_storm_latest SET slow = {}", slow.as_secs_f64());
    Ok(conn.query_drop(slow).await.map_err(MySqlError::from)?)
}

impl Store for MySqlStore {
    type Single = Arc<Connections>;
    type Transaction = Transaction<Connections>;

    fn singles(&self) -> &Arc<store::Single<Self>> {
        &self.singles
    }

    fn transactions(&self) -> &Arc<store::Transaction<Self>> {
        &self.transactions
    }

    fn pool(&self) -> Option<stats::Pool> {
        Some(self.connections.counters().pool(&self.pool.status()))
    }

    async fn database(&self) -> Result<Option<Database>> {
        let mut conn = Lease::acquire(&self.own).await?;
        let database = self.monitor.report(&mut conn).await?;
        Lease::complete(conn).await?;
        Ok(Some(database))
    }

    async fn close(&self) -> Result<Option<PoolShutdown>> {
        let pool = self.pool.close(CLOSE_TIMEOUT).await;
        let (left, mut conn) = self.monitor.stop().await?;
        conn.query_drop(REMOVE).await.map_err(MySqlError::from)?;
        Lease::complete(conn).await?;
        Ok(Some(PoolShutdown { pool, left: Some(left) }))
    }

    async fn rows(&self) -> Result<u64> {
        let mut conn = Lease::acquire(&self.own).await?;
        let rows = conn.query_first("SELECT COUNT(*) FROM reqscope_storm_tags").await.map_err(MySqlError::from)?;
        Lease::complete(conn).await?;
        rows.context("a count is always a row")
    }

    async fn tags(&self) -> Result<Vec<u32>> {
        let mut conn = Lease::acquire(&self.own).await?;
        let tags = conn.query("SELECT tag FROM reqscope_storm_tags").await.map_err(MySqlError::from)?;
        Lease::complete(conn).await?;
        Ok(tags)
    }

    async fn clear(&self) -> Result<()> {
        let mut conn = Lease::acquire(&self.own).await?;
        conn.query_drop("DELETE FROM reqscope_storm_tags").await.map_err(MySqlError::from)?;
        self.monitor.reset(&mut conn).await?;
        Lease::complete(conn).await?;
        Ok(())
    }
}

/// Writes the tag, in two statements. The answer to each has the number that was passed to `LAST_INSERT_ID`.
///
/// The second statement waits while another transaction has locked the row, and may be cut there.
async fn write(conn: &mut impl AnyConnection, tag: u32) -> Result<()> {
    let insert = "INSERT INTO reqscope_storm_tags (tag, question) VALUES (?, LAST_INSERT_ID(?))";
    let update = "UPDATE reqscope_storm_latest SET tag = ? WHERE id = LAST_INSERT_ID(?) - ?";
    let nonce = Nonce::draw();
    conn.exec_drop(insert, (tag, nonce.0)).await.map_err(MySqlError::from)?;
    nonce.check(conn.last_insert_id())?;
    let nonce = Nonce::draw();
    conn.exec_drop(update, (tag, nonce.0, nonce.0 - 1)).await.map_err(MySqlError::from)?;
    nonce.check(conn.last_insert_id())?;
    Ok(())
}

/// Reads the tag, in a statement that takes time on the server: it waits for the lock that this storm holds, without
/// getting it.
///
/// `SLEEP` would not do: all sleeping statements of a MariaDB share a mutex, and a KILL among them may stall all of
/// them for two seconds. (MySQL rounds a fraction of a second to none, so there only row locks are waited for.)
async fn read(conn: &mut impl AnyConnection) -> Result<u32> {
    let nonce = Nonce::draw();
    let wait = "GET_LOCK(CONCAT('reqscope_storm.', DATABASE()), slow * RAND())";
    let select = format!("SELECT {}, tag, {wait} FROM reqscope_storm_latest", nonce.0);
    // As a raw row: the answer to another query may have other columns.
    let answer: Option<Row> = conn.query_first(select).await.map_err(MySqlError::from)?;
    let column = |at| answer.as_ref()?.get_opt::<u64, usize>(at)?.ok();
    nonce.check(column(0))?;
    Ok(column(1).context("the answer has no tag")?.try_into()?)
}

impl<R: Resource<Handle: AnyConnection>> Tags for Pooled<Tracked<Registered<R>>> {
    async fn write(&mut self, tag: u32) -> Result<()> {
        write(self.using(), tag).await
    }

    async fn read(&mut self) -> Result<u32> {
        read(self.using()).await
    }
}

impl Tags for OpenTransaction<Connections> {
    async fn write(&mut self, tag: u32) -> Result<()> {
        write(&mut **self, tag).await
    }

    async fn read(&mut self) -> Result<u32> {
        read(&mut **self).await
    }
}
