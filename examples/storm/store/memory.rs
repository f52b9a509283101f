//! A store in memory: nothing but reqscope itself is tried.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use parking_lot::Mutex;
use reqscope::{Error, Exit, Resource};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

use crate::options::Server;
use crate::server::accounting::Ledger;
use crate::server::tracked::Watched;
use crate::store::{Single, Store, Tags, Transaction};

pub(crate) struct CounterStore {
    data: Arc<Data>,
    singles: Arc<Single<Self>>,
    transactions: Arc<Transaction<Self>>,
}

/// Relaxed will do for the tag: the semaphore orders those who hold its permit, and the others prove that it must.
struct Data {
    tag: AtomicU32,
    rows: Mutex<Vec<u32>>,
    /// One permit: for the transaction that may write.
    writer: Arc<Semaphore>,
}

impl CounterStore {
    pub(crate) fn new(server: &Server, ledger: &Arc<Ledger>) -> CounterStore {
        let writer = Arc::new(Semaphore::new(1));
        let data = Arc::new(Data { tag: AtomicU32::new(0), rows: Mutex::default(), writer });
        let singles = Watched::new(Counter(Arc::clone(&data)), ledger, server.acquire_ms);
        let transactions = Watched::new(Exclusive(Arc::clone(&data)), ledger, server.acquire_ms);
        CounterStore { data, singles: Arc::new(singles), transactions: Arc::new(transactions) }
    }
}

impl Store for CounterStore {
    type Single = Counter;
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

/// Handles that everybody may have at once.
pub(crate) struct Counter(Arc<Data>);

impl Resource for Counter {
    type Handle = Cell;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Cell, Error<Infallible>> {
        Ok(Cell { data: Arc::clone(&self.0), permit: None })
    }
}

/// Handles of which there is one at a time, and whose completed release counts as a row.
pub(crate) struct Exclusive(Arc<Data>);

impl Resource for Exclusive {
    type Handle = Cell;
    type Cause = Infallible;

    async fn acquire(&self) -> Result<Cell, Error<Infallible>> {
        let waiting = Arc::clone(&self.0.writer).acquire_owned();
        // Dropped here, the semaphore takes back both the place in the queue and the permit.
        let permit = waiting.await.map_err(|_| Error::closed())?;
        Ok(Cell { data: Arc::clone(&self.0), permit: Some(permit) })
    }

    async fn release(&self, cell: Cell, exit: Exit) -> Result<(), Error<Infallible>> {
        // As a database would: a commit takes its time, and may be watched by a client that leaves.
        yield_now().await;
        if exit.is_completed() {
            self.0.rows.lock().push(self.0.tag.load(Ordering::Relaxed));
        }
        drop(cell.permit);
        Ok(())
    }

    fn settles(&self, exit: Exit) -> bool {
        exit.is_completed()
    }
}

pub(crate) struct Cell {
    data: Arc<Data>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Tags for Cell {
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
