//! A store in an SQLite database, in a temporary file.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use reqscope::{Lease, Pool, Pooled};
use reqscope_sqlite::rusqlite::Row;
use reqscope_sqlite::{OpenTransaction, Sqlite, SqliteConn, Transaction};
use tempfile::TempDir;

use crate::options::ServerOptions;
use crate::server::accounting::Accounting;
use crate::server::shutdown::PoolShutdown;
use crate::server::stats;
use crate::server::tracked::Tracked;
use crate::store::nonce::Nonce;
use crate::store::{self, Store, Tags};

const SCHEMA: &str = "
    CREATE TABLE latest (id INTEGER PRIMARY KEY CHECK (id = 1), tag INTEGER NOT NULL);
    CREATE TABLE tags (id INTEGER PRIMARY KEY, tag INTEGER NOT NULL);
    INSERT INTO latest VALUES (1, 0);";

/// How long the last connections may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The connections are tracked below the pool, and their uses above it.
type Connections = Pool<Tracked<Sqlite>>;

pub(crate) struct SqliteStore {
    /// Connections for the storm itself, which are not tracked.
    own: Arc<Sqlite>,
    singles: Arc<store::Single<Self>>,
    transactions: Arc<store::Transaction<Self>>,
    pool: Arc<Connections>,
    /// The counters of the connections, not of their uses.
    connections: Arc<Accounting>,
    /// Removes the database when the server has gone.
    _folder: TempDir,
}

impl SqliteStore {
    pub(crate) async fn open(options: &ServerOptions, accounting: &Arc<Accounting>) -> Result<SqliteStore> {
        let folder = tempfile::tempdir().context("cannot create a folder for the database")?;
        let file = folder.path().join("storm.db");
        let own = Arc::new(Sqlite::new(&file));
        let mut conn = Lease::acquire(&own).await?;
        conn.call(|db| db.execute_batch(SCHEMA)).await?;
        Lease::complete(conn).await?;

        let connections = Arc::new(Accounting::new());
        let pool = Pool::builder().max_size(options.pool.into()).acquire_timeout(store::acquire_timeout(options));
        let pool = Arc::new(pool.build(Tracked::new(Sqlite::new(&file), &connections, Duration::ZERO)));
        let singles = Arc::new(Tracked::new(Arc::clone(&pool), accounting, options.acquire_ms));
        let transactions = Transaction::new(Arc::clone(&pool));
        let transactions = Arc::new(Tracked::new(transactions, accounting, options.acquire_ms));
        Ok(SqliteStore { own, singles, transactions, pool, connections, _folder: folder })
    }
}

impl Store for SqliteStore {
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

    async fn close(&self) -> Result<Option<PoolShutdown>> {
        Ok(Some(PoolShutdown { pool: self.pool.close(CLOSE_TIMEOUT).await, left: None }))
    }

    async fn rows(&self) -> Result<u64> {
        let mut conn = Lease::acquire(&self.own).await?;
        let rows: i64 = conn.call(|db| db.query_row("SELECT count(*) FROM tags", (), |row| row.get(0))).await?;
        Lease::complete(conn).await?;
        Ok(rows.try_into()?)
    }

    async fn tags(&self) -> Result<Vec<u32>> {
        let mut conn = Lease::acquire(&self.own).await?;
        let tags =
            conn.call(|db| db.prepare("SELECT tag FROM tags")?.query_map((), |row| row.get(0))?.collect()).await?;
        Lease::complete(conn).await?;
        Ok(tags)
    }

    async fn clear(&self) -> Result<()> {
        let transactions = Arc::new(Transaction::new(Arc::clone(&self.own)));
        let mut transaction = Lease::acquire(&transactions).await?;
        transaction.call(|db| db.execute("DELETE FROM tags", ())).await?;
        Lease::complete(transaction).await?;
        Ok(())
    }
}

impl Tags for SqliteConn {
    async fn write(&mut self, tag: u32) -> Result<()> {
        self.call(move |db| {
            db.prepare_cached("INSERT INTO tags (tag) VALUES (?1)")?.execute([tag])?;
            db.prepare_cached("UPDATE latest SET tag = ?1")?.execute([tag])
        })
        .await?;
        Ok(())
    }

    async fn read(&mut self) -> Result<u32> {
        let nonce = Nonce::draw();
        let columns = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get(1)?));
        let select = "SELECT ?1, tag FROM latest";
        let (answered, tag) = self.call(move |db| db.prepare_cached(select)?.query_row([nonce.0], columns)).await?;
        nonce.check(Some(answered.into()))?;
        Ok(tag)
    }
}

impl Tags for Pooled<Tracked<Sqlite>> {
    async fn write(&mut self, tag: u32) -> Result<()> {
        self.using().write(tag).await
    }

    async fn read(&mut self) -> Result<u32> {
        self.using().read().await
    }
}

impl Tags for OpenTransaction<Connections> {
    async fn write(&mut self, tag: u32) -> Result<()> {
        SqliteConn::write(self, tag).await
    }

    async fn read(&mut self) -> Result<u32> {
        SqliteConn::read(self).await
    }
}
