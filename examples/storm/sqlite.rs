//! A store in an SQLite database, in a temporary file.
use std::sync::Arc;

use anyhow::{Context, Result};
use reqscope::Lease;
use reqscope_sqlite::{OpenTransaction, Sqlite, SqliteConn, Transaction};
use tempfile::TempDir;

use crate::ledger::Ledger;
use crate::options::Server;
use crate::store::{Store, Tags};
use crate::watched::Watched;

const SCHEMA: &str = "
    CREATE TABLE latest (id INTEGER PRIMARY KEY CHECK (id = 1), tag INTEGER NOT NULL);
    CREATE TABLE tags (id INTEGER PRIMARY KEY, tag INTEGER NOT NULL);
    INSERT INTO latest VALUES (1, 0);";

pub(crate) struct SqliteStore {
    /// Nobody watches this one: for the storm's own questions.
    own: Arc<Sqlite>,
    singles: Arc<Watched<Arc<Sqlite>>>,
    transactions: Arc<Watched<Transaction<Sqlite>>>,
    /// Removes the database when the server has gone.
    _folder: TempDir,
}

impl SqliteStore {
    pub(crate) async fn open(server: &Server, ledger: &Arc<Ledger>) -> Result<SqliteStore> {
        let folder = tempfile::tempdir().context("no place for the database")?;
        let own = Arc::new(Sqlite::new(folder.path().join("storm.db")));
        let mut conn = Lease::acquire(&own).await?;
        conn.call(|db| db.execute_batch(SCHEMA)).await?;
        Lease::complete(conn).await?;
        let singles = Watched::new(Arc::clone(&own), ledger, server.acquire_ms);
        let transactions = Watched::new(Transaction::new(Arc::clone(&own)), ledger, server.acquire_ms);
        Ok(SqliteStore { own, singles: Arc::new(singles), transactions: Arc::new(transactions), _folder: folder })
    }
}

impl Store for SqliteStore {
    type Single = Arc<Sqlite>;
    type Transaction = Transaction<Sqlite>;

    fn singles(&self) -> &Arc<Watched<Arc<Sqlite>>> {
        &self.singles
    }

    fn transactions(&self) -> &Arc<Watched<Transaction<Sqlite>>> {
        &self.transactions
    }

    async fn rows(&self) -> Result<u64> {
        let mut conn = Lease::acquire(&self.own).await?;
        let rows: i64 = conn.call(|db| db.query_row("SELECT count(*) FROM tags", (), |row| row.get(0))).await?;
        Lease::complete(conn).await?;
        Ok(rows.try_into()?)
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
        Ok(self.call(|db| db.prepare_cached("SELECT tag FROM latest")?.query_row((), |row| row.get(0))).await?)
    }
}

impl Tags for OpenTransaction<Sqlite> {
    async fn write(&mut self, tag: u32) -> Result<()> {
        SqliteConn::write(self, tag).await
    }

    async fn read(&mut self) -> Result<u32> {
        SqliteConn::read(self).await
    }
}
