//! What the handlers need of a resource, so that one server serves with any of them.
pub(crate) mod busy;
pub(crate) mod memory;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
pub(crate) mod nonce;
pub(crate) mod sqlite;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use reqscope::Resource;

use crate::options::ServerOptions;
use crate::server::shutdown::PoolShutdown;
use crate::server::stats::{Database, Pool};
use crate::server::tracked::{SINGLE, TRANSACTION, Tracked};

/// Returns how long a handler waits for a connection. It takes milliseconds on an idle machine and seconds on a busy one,
/// and must be below the time that a client waits for its answer. Where slots are lost on purpose, many handlers wait
/// that long.
pub(crate) fn acquire_timeout(options: &ServerOptions) -> Duration {
    Duration::from_secs(if options.r#break.is_some() { 2 } else { 25 })
}

/// Two resources over the same data: handles for single uses, and transactions.
pub(crate) trait Store: Sized + Send + Sync + 'static {
    type Single: Resource<Handle: Tags>;
    type Transaction: Resource<Handle: Tags>;

    fn singles(&self) -> &Arc<Single<Self>>;
    fn transactions(&self) -> &Arc<Transaction<Self>>;

    /// Counts the rows.
    fn rows(&self) -> impl Future<Output = Result<u64>> + Send;
    /// Lists the tags in the rows.
    fn tags(&self) -> impl Future<Output = Result<Vec<u32>>> + Send;
    /// Removes all rows, and resets the counters of the database.
    fn clear(&self) -> impl Future<Output = Result<()>> + Send;

    /// Returns the counters of the pool under both, if there is one.
    fn pool(&self) -> Option<Pool> {
        None
    }
    /// Returns what the database's server reports, if there is a server.
    fn database(&self) -> impl Future<Output = Result<Option<Database>>> + Send {
        async { Ok(None) }
    }
    /// Closes the pool, if there is one.
    fn close(&self) -> impl Future<Output = Result<Option<PoolShutdown>>> + Send {
        async { Ok(None) }
    }
}

/// The tracked resources of a store, as the handlers see them.
pub(crate) type Single<S> = Tracked<<S as Store>::Single, SINGLE>;
pub(crate) type Transaction<S> = Tracked<<S as Store>::Transaction, TRANSACTION>;

/// A handle to one tag that all handles share. A transaction that reads back another tag than its own was not isolated.
pub(crate) trait Tags {
    /// Writes the tag, and adds a row.
    fn write(&mut self, tag: u32) -> impl Future<Output = Result<()>> + Send;
    /// Reads the tag.
    fn read(&mut self) -> impl Future<Output = Result<u32>> + Send;
}
