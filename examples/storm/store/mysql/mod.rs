//! A store in MySQL or MariaDB: on a private server, or in the database that somebody names.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqscope::pool::{PoolBuilder, Reset};
use reqscope::{Lease, Pool, Pooled, Resource};
use reqscope_mysql::mysql_async::Row;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::{MySql, MySqlConn, MySqlError, OpenTransaction, Transaction};

use crate::options::{Fault, Server};
use crate::server::accounting::Ledger;
use crate::server::shutdown::Closed;
use crate::server::stats::{self, Database};
use crate::server::tracked::Watched;
use crate::store::nonce::Nonce;
use crate::store::{self, Store, Tags};
use monitor::Lookout;
use registry::{Connection, Register, Traced};
use server::Place;
pub(crate) use unchecked::CarelessStore;

mod monitor;
mod registry;
mod server;
mod unchecked;

/// The names are the storm's own. What a storm left that was killed is removed first.
const SCHEMA: [&str; 4] = [
    REMOVE,
    "CREATE TABLE reqscope_storm_latest (tag INT UNSIGNED NOT NULL, slow DOUBLE NOT NULL, id INT PRIMARY KEY) \
     ENGINE = InnoDB",
    "CREATE TABLE reqscope_storm_tags (tag INT UNSIGNED NOT NULL, question INT UNSIGNED NOT NULL, \
     PRIMARY KEY (tag, question)) ENGINE = InnoDB",
    "INSERT INTO reqscope_storm_latest VALUES (0, 0, 1)",
];
const REMOVE: &str = "DROP TABLE IF EXISTS reqscope_storm_latest, reqscope_storm_tags";

/// One storm for each database. The lock goes with its connection.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('reqscope_storm.', DATABASE()), 0)";

/// How long a handler waits for a connection. A storm's own clients wait for milliseconds, unless slots are lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the last connections may take to close.
const CLOSE: Duration = Duration::from_secs(2);

/// The connections are watched below the pool, and their uses above it.
type Connections = Pool<Watched<Traced<MySql>>>;

pub(crate) struct MySqlStore {
    /// Nobody watches this one: for the storm's own questions.
    own: Arc<MySql>,
    singles: Arc<store::Single<Self>>,
    transactions: Arc<store::Transaction<Self>>,
    pool: Arc<Connections>,
    /// The books of the connections, not of their uses.
    connections: Arc<Ledger>,
    register: Arc<Register>,
    lookout: Lookout,
    place: Place,
}

impl MySqlStore {
    pub(crate) async fn open(server: &Server, ledger: &Arc<Ledger>) -> Result<MySqlStore> {
        let place = Place::find(server).await?;
        let own = Arc::new(MySql::new(place.url())?);
        let mut conn = Lease::acquire(&own).await.context("the database does not let the storm in")?;
        furnish(&mut conn, server.work_ms).await.context("the storm's tables cannot be made")?;

        let (register, connections) = (Arc::default(), Arc::new(Ledger::new()));
        let mysql = Traced::new(MySql::new(place.url())?, &register, server.r#break == Some(Fault::Orphan));
        let pool = pool(server).reset(Reset::Always).build(Watched::new(mysql, &connections, Duration::ZERO));
        let pool = Arc::new(pool);
        let singles = Arc::new(Watched::new(Arc::clone(&pool), ledger, server.acquire_ms));
        let transactions = Transaction::new(Arc::clone(&pool));
        let transactions = Arc::new(Watched::new(transactions, ledger, server.acquire_ms));
        let lookout = Lookout::post(conn, &register);
        Ok(MySqlStore { own, singles, transactions, pool, connections, register, lookout, place })
    }
}

fn pool<R: Resource>(server: &Server) -> PoolBuilder<R> {
    Pool::builder().max_size(server.pool.into()).acquire_timeout(PATIENCE)
}

/// Takes the lock and makes the tables. A reading statement takes this long at most.
async fn furnish(conn: &mut MySqlConn, slow: Duration) -> Result<()> {
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
        Some(stats::Pool::new(self.pool.status(), &self.connections.books()))
    }

    async fn database(&self) -> Result<Option<Database>> {
        let mut conn = Lease::acquire(&self.own).await?;
        let database = self.lookout.tell(&mut conn).await?;
        Lease::complete(conn).await?;
        Ok(Some(database))
    }

    async fn close(&self) -> Result<Option<Closed>> {
        let pool = self.pool.close(CLOSE).await;
        let (left, mut conn) = self.lookout.relieve().await?;
        conn.query_drop(REMOVE).await.map_err(MySqlError::from)?;
        Lease::complete(conn).await?;
        Ok(Some(Closed { pool, left: Some(left) }))
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
        self.lookout.forget(&mut conn).await?;
        Lease::complete(conn).await?;
        Ok(())
    }
}

/// Two statements. Each of their answers tells the number that its question gave to `LAST_INSERT_ID`.
///
/// Whoever has another transaction's row before him waits in the second one, and may be cut there.
async fn write(conn: &mut impl Connection, tag: u32) -> Result<()> {
    let insert = "INSERT INTO reqscope_storm_tags (tag, question) VALUES (?, LAST_INSERT_ID(?))";
    let update = "UPDATE reqscope_storm_latest SET tag = ? WHERE id = LAST_INSERT_ID(?) - ?";
    let nonce = Nonce::draw();
    conn.exec_drop(insert, (tag, nonce.0)).await.map_err(MySqlError::from)?;
    nonce.came_back(conn.last_insert_id())?;
    let nonce = Nonce::draw();
    conn.exec_drop(update, (tag, nonce.0, nonce.0 - 1)).await.map_err(MySqlError::from)?;
    nonce.came_back(conn.last_insert_id())?;
    Ok(())
}

/// A statement that takes its time on the server: it waits for the lock that this storm has, and does not get it.
///
/// Not `SLEEP`: all sleepers of a MariaDB share a mutex, and a KILL among them may stop them all for two seconds. (To
/// MySQL a part of a second is none; there only row locks are waited for.)
async fn read(conn: &mut impl Connection) -> Result<u32> {
    let nonce = Nonce::draw();
    let wait = "GET_LOCK(CONCAT('reqscope_storm.', DATABASE()), slow * RAND())";
    let select = format!("SELECT {}, tag, {wait} FROM reqscope_storm_latest", nonce.0);
    // As it comes: the answer to another question may have another shape.
    let answer: Option<Row> = conn.query_first(select).await.map_err(MySqlError::from)?;
    let column = |at| answer.as_ref()?.get_opt::<u64, usize>(at)?.ok();
    nonce.came_back(column(0))?;
    Ok(column(1).context("the answer has no tag")?.try_into()?)
}

impl<R: Resource<Handle: Connection>> Tags for Pooled<Watched<Traced<R>>> {
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
