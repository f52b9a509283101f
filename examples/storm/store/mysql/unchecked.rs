//! A fault that the storm must find: connections that are reused after a statement was cut.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use reqscope::{Error, Exit, Pool, Resource};
use reqscope_mysql::MySqlError;
use reqscope_mysql::mysql_async::{self, Conn, Opts};

use super::registry::{AnyConnection, Registered};
use super::{MySqlStore, pool};
use crate::options::ServerOptions;
use crate::server::accounting::Accounting;
use crate::server::shutdown::PoolShutdown;
use crate::server::stats::{self, Database};
use crate::server::tracked::Tracked;
use crate::store::{self, Store};

/// The driver's own connections, whose state is not checked.
pub(crate) struct Unchecked(Opts);

impl Resource for Unchecked {
    type Handle = Conn;
    type Cause = MySqlError;

    async fn acquire(&self) -> Result<Conn, Error<MySqlError>> {
        Conn::new(self.0.clone()).await.map_err(|error| Error::failed(error.into()))
    }

    async fn release(&self, conn: Conn, _exit: Exit) -> Result<(), Error<MySqlError>> {
        conn.disconnect().await.map_err(|error| Error::failed(error.into()))
    }
}

impl AnyConnection for Conn {
    fn number(&self) -> u64 {
        self.id().into()
    }

    fn last_insert_id(&self) -> Option<u64> {
        Conn::last_insert_id(self)
    }
}

/// A store whose single uses have unchecked connections.
pub(crate) struct UncheckedStore {
    store: MySqlStore,
    singles: Arc<store::Single<Self>>,
}

impl UncheckedStore {
    pub(crate) async fn open(options: &ServerOptions, accounting: &Arc<Accounting>) -> Result<UncheckedStore> {
        let store = MySqlStore::open(options, accounting).await?;
        let opts =
            Opts::from_url(store.database.url()).map_err(mysql_async::Error::from).map_err(MySqlError::from)?;
        let unchecked = Registered::new(Unchecked(opts), &store.registry, false);
        let pool = pool(options).build(Tracked::new(unchecked, &Arc::new(Accounting::new()), Duration::ZERO));
        Ok(UncheckedStore { singles: Arc::new(Tracked::new(Arc::new(pool), accounting, options.acquire_ms)), store })
    }
}

impl Store for UncheckedStore {
    type Single = Arc<Pool<Tracked<Registered<Unchecked>>>>;
    type Transaction = <MySqlStore as Store>::Transaction;

    fn singles(&self) -> &Arc<store::Single<Self>> {
        &self.singles
    }

    fn transactions(&self) -> &Arc<store::Transaction<Self>> {
        self.store.transactions()
    }

    fn pool(&self) -> Option<stats::Pool> {
        self.store.pool()
    }

    async fn database(&self) -> Result<Option<Database>> {
        self.store.database().await
    }

    async fn close(&self) -> Result<Option<PoolShutdown>> {
        self.store.close().await
    }

    async fn rows(&self) -> Result<u64> {
        self.store.rows().await
    }

    async fn tags(&self) -> Result<Vec<u32>> {
        self.store.tags().await
    }

    async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }
}
