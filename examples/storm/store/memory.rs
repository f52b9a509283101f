//! A store in memory, to test nothing but reqscope itself.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use parking_lot::Mutex;
use reqscope::{Error, Exit, Resource};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

use crate::options::ServerOptions;
use crate::server::accounting::Accounting;
use crate::server::tracked::Tracked;
use crate::store::{Single, Store, Tags, Transaction};

pub(crate) struct MemoryStore {
    data: Arc<Data>,
    singles: Arc<Single<Self>>,
    transactions: Arc<Transaction<Self>>,
}

/// Relaxed is enough for the tag: the semaphore orders the transactions, which hold its permit. Handles without a
/// permit are not ordered.
struct Data {
    tag: AtomicU32,
    rows: Mutex<Vec<u32>>,
    /// Has one permit, for the transaction that may write.
    writer: Arc<Semaphore>,
}

impl MemoryStore {
    pub(crate) fn new(options: &ServerOptions, accounting: &Arc<Accounting>) -> MemoryStore {
        let writer = Arc::new(Semaphore::new(1));
        let data = Arc::new(Data { tag: AtomicU32::new(0), rows: Mutex::default(), writer });
        let singles = Tracked::new(Unlimited(Arc::clone(&data)), accounting, options.acquire_ms);
        let transactions = Tracked::new(Exclusive(Arc::clone(&data)), accounting, options.acquire_ms);
        MemoryStore { data, singles: Arc::new(singles), transactions: Arc::new(transactions) }
    }
}

impl Store for MemoryStore {
    type Single = Unlimited;
    type Transaction = Exclusive;

    fn singles(&self) -> &Arc<Single<Self>> {
        &self.singles
    }

    fn transactions(&self) -> &Arc<Transaction<Self>> {
        &self.transactions
    }

    async fn rows(&self) -> Result<u64> {
        Ok(self.data.rows.lock().len() as u64)
    }

    async fn tags(&self) -> Result<Vec<u32>> {
        Ok(self.data.rows.lock().clone())
    }

    async fn clear(&self) -> Result<()> {
        self.data.rows.lock().clear();
        Ok(())
    }
}

/// Handles of which there may be any number at once.
pub(crate) struct Unlimited(Arc<Data>);

impl Resource for Unlimited {
    type Handle = Value;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Value, Error<Infallible>> {
        Ok(Value { data: Arc::clone(&self.0), permit: None })
    }
}

/// Handles of which there is one at a time, and whose completed release adds a row.
pub(crate) struct Exclusive(Arc<Data>);

impl Resource for Exclusive {
    type Handle = Value;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Value, Error<Infallible>> {
        let waiting = Arc::clone(&self.0.writer).acquire_owned();
        // Dropped here, the place in the queue, or the permit, goes back to the semaphore.
        let permit = waiting.await.map_err(|_| Error::closed())?;
        Ok(Value { data: Arc::clone(&self.0), permit: Some(permit) })
    }

    async fn release(&self, value: Value, exit: Exit) -> Result<(), Error<Infallible>> {
        // A commit takes time, as in a database, so that a client may leave during it.
        yield_now().await;
        if exit.is_completed() {
            self.0.rows.lock().push(self.0.tag.load(Ordering::Relaxed));
        }
        drop(value.permit);
        Ok(())
    }

    fn settles(&self, exit: Exit) -> bool {
        exit.is_completed()
    }
}

pub(crate) struct Value {
    data: Arc<Data>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Tags for Value {
    async fn write(&mut self, tag: u32) -> Result<()> {
        yield_now().await;
        self.data.tag.store(tag, Ordering::Relaxed);
        Ok(())
    }

    async fn read(&mut self) -> Result<u32> {
        yield_now().await;
        Ok(self.data.tag.load(Ordering::Relaxed))
    }
}
