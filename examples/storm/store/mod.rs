//! What the handlers ask of a resource, so that one server does for all of them.
pub(crate) mod busy;
pub(crate) mod memory;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
pub(crate) mod nonce;
pub(crate) mod sqlite;

use std::future::Future;
use std::sync::Arc;

use anyhow::Result;
use reqscope::Resource;

use crate::server::shutdown::Closed;
use crate::server::stats::{Database, Pool};
use crate::server::tracked::{SINGLE, TRANSACTION, Watched};

/// Two resources over the same data: handles for single uses, and transactions.
pub(crate) trait Store: Sized + Send + Sync + 'static {
    type Single: Resource<Handle: Tags>;
    type Transaction: Resource<Handle: Tags>;

    fn singles(&self) -> &Arc<Single<Self>>;
    fn transactions(&self) -> &Arc<Transaction<Self>>;

    /// How many rows are there.
    fn rows(&self) -> impl Future<Output = Result<u64>> + Send;
    /// The tags in those rows.
    fn tags(&self) -> impl Future<Output = Result<Vec<u32>>> + Send;
    /// Removes all rows, and forgets what the database was seen to do.
    fn clear(&self) -> impl Future<Output = Result<()>> + Send;

    /// The pool under both, if there is one.
    fn pool(&self) -> Option<Pool> {
        None
    }
    /// What the database's own server says, if it has one.
    fn database(&self) -> impl Future<Output = Result<Option<Database>>> + Send {
        async { Ok(None) }
    }
    /// Closes the pool, if there is one.
    fn close(&self) -> impl Future<Output = Result<Option<Closed>>> + Send {
        async { Ok(None) }
    }
}

/// What the handlers of a store see of it.
pub(crate) type Single<S> = Watched<<S as Store>::Single, SINGLE>;
pub(crate) type Transaction<S> = Watched<<S as Store>::Transaction, TRANSACTION>;

/// A place that holds one tag, the same for all handles: who reads back another's tag was not alone.
pub(crate) trait Tags {
    /// Leaves a tag, and adds a row.
    fn write(&mut self, tag: u32) -> impl Future<Output = Result<()>> + Send;
    /// The tag that is there.
    fn read(&mut self) -> impl Future<Output = Result<u32>> + Send;
}
