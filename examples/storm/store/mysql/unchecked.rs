//! What the storm has to find: connections that are handed on after a statement was cut.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use reqscope::{Error, Exit, Pool, Resource};
use reqscope_mysql::MySqlError;
use reqscope_mysql::mysql_async::{self, Conn, Opts};

use super::registry::{Connection, Traced};
use super::{MySqlStore, pool};
use crate::options::Server;
use crate::server::accounting::Ledger;
use crate::server::shutdown::Closed;
use crate::server::stats::{self, Database};
use crate::server::tracked::Watched;
use crate::store::{self, Store};

/// The driver's own connections, with a pool that believes them.
pub(crate) struct Careless(Opts);

impl Resource for Careless {
    type Handle = Conn;
    type Cause = MySqlError;

    async fn acquire(&self) -> Result<Conn, Error<MySqlError>> {
        Conn::new(self.0.clone()).await.map_err(|error| Error::failed(error.into()))
    }

    async fn release(&self, conn: Conn, _exit: Exit) -> Result<(), Error<MySqlError>> {
        conn.disconnect().await.map_err(|error| Error::failed(error.into()))
    }
}

impl Connection for Conn {
    fn number(&self) -> u64 {
        self.id().into()
    }

    fn last_insert_id(&self) -> Option<u64> {
        Conn::last_insert_id(self)
    }
}

/// A store whose single uses have careless connections.
pub(crate) struct CarelessStore {
    right: MySqlStore,
    singles: Arc<store::Single<Self>>,
}

impl CarelessStore {
    pub(crate) async fn open(server: &Server, ledger: &Arc<Ledger>) -> Result<CarelessStore> {
        let right = MySqlStore::open(server, ledger).await?;
        let opts = Opts::from_url(right.place.url()).map_err(mysql_async::Error::from).map_err(MySqlError::from)?;
        let careless = Traced::new(Careless(opts), &right.register, false);
        let pool = pool(server).build(Watched::new(careless, &Arc::new(Ledger::new()), Duration::ZERO));
        Ok(CarelessStore { singles: Arc::new(Watched::new(Arc::new(pool), ledger, server.acquire_ms)), right })
    }
}

impl Store for CarelessStore {
    type Single = Arc<Pool<Watched<Traced<Careless>>>>;
    type Transaction = <MySqlStore as Store>::Transaction;

    fn singles(&self) -> &Arc<store::Single<Self>> {
        &self.singles
    }

    fn transactions(&self) -> &Arc<store::Transaction<Self>> {
        self.right.transactions()
    }

    fn pool(&self) -> Option<stats::Pool> {
        self.right.pool()
    }

    async fn database(&self) -> Result<Option<Database>> {
        self.right.database().await
    }

    async fn close(&self) -> Result<Option<Closed>> {
        self.right.close().await
    }

    async fn rows(&self) -> Result<u64> {
        self.right.rows().await
    }

    async fn tags(&self) -> Result<Vec<u32>> {
        self.right.tags().await
    }

    async fn clear(&self) -> Result<()> {
        self.right.clear().await
    }
}
