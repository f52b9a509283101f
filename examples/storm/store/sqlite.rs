//! A store in an SQLite database, in a temporary file.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use reqscope::{Lease, Pool, Pooled};
use reqscope_sqlite::rusqlite::Row;
use reqscope_sqlite::{OpenTransaction, Sqlite, SqliteConn, Transaction};
use tempfile::TempDir;

use crate::options::Server;
use crate::server::accounting::Ledger;
use crate::server::shutdown::Closed;
use crate::server::stats;
use crate::server::tracked::Watched;
use crate::store::nonce::Nonce;
use crate::store::{self, Store, Tags};

const SCHEMA: &str = "
    CREATE TABLE latest (id INTEGER PRIMARY KEY CHECK (id = 1), tag INTEGER NOT NULL);
    CREATE TABLE tags (id INTEGER PRIMARY KEY, tag INTEGER NOT NULL);
    INSERT INTO latest VALUES (1, 0);";

/// How long a handler waits for a connection. A storm's own clients wait for milliseconds, unless slots are lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the last connections may take to close.
const CLOSE: Duration = Duration::from_secs(2);

/// The connections are watched below the pool, and their uses above it.
type Connections = Pool<Watched<Sqlite>>;

pub(crate) struct SqliteStore {
    /// Nobody watches this one: for the storm's own questions.
    own: Arc<Sqlite>,
    singles: Arc<store::Single<Self>>,
    transactions: Arc<store::Transaction<Self>>,
    pool: Arc<Connections>,
    /// The books of the connections, not of their uses.
    connections: Arc<Ledger>,
    /// Removes the database when the server has gone.
    _folder: TempDir,
}

impl SqliteStore {
    pub(crate) async fn open(server: &Server, ledger: &Arc<Ledger>) -> Result<SqliteStore> {
        let folder = tempfile::tempdir().context("no place for the database")?;
        let file = folder.path().join("storm.db");
        let own = Arc::new(Sqlite::new(&file));
        let mut conn = Lease::acquire(&own).await?;
        conn.call(|db| db.execute_batch(SCHEMA)).await?;
        Lease::complete(conn).await?;

        let connections = Arc::new(Ledger::new());
        let pool = Pool::builder().max_size(server.pool.into()).acquire_timeout(PATIENCE);
        let pool = Arc::new(pool.build(Watched::new(Sqlite::new(&file), &connections, Duration::ZERO)));
        let singles = Arc::new(Watched::new(Arc::clone(&pool), ledger, server.acquire_ms));
        let transactions = Transaction::new(Arc::clone(&pool));
        let transactions = Arc::new(Watched::new(transactions, ledger, server.acquire_ms));
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
        Some(stats::Pool::new(self.pool.status(), &self.connections.books()))
    }

    async fn close(&self) -> Result<Option<Closed>> {
        Ok(Some(Closed { pool: self.pool.close(CLOSE).await, left: None }))
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
        nonce.came_back(Some(answered.into()))?;
        Ok(tag)
    }
}

impl Tags for Pooled<Watched<Sqlite>> {
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
