//! A store in memory: nothing but reqscope itself is tried.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::Result;
use reqscope::{Error, Exit, Resource};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

use crate::ledger::Ledger;
use crate::options::Server;
use crate::store::{Store, Tags};
use crate::watched::Watched;

pub(crate) struct CounterStore {
    data: Arc<Data>,
    singles: Arc<Watched<Counter>>,
    transactions: Arc<Watched<Exclusive>>,
}

/// Relaxed will do for both: the semaphore orders those who hold its permit, and the others prove that it must.
struct Data {
    tag: AtomicU32,
    rows: AtomicU64,
    /// One permit: for the transaction that may write.
    writer: Arc<Semaphore>,
}

impl CounterStore {
    pub(crate) fn new(server: &Server, ledger: &Arc<Ledger>) -> CounterStore {
        let writer = Arc::new(Semaphore::new(1));
        let data = Arc::new(Data { tag: AtomicU32::new(0), rows: AtomicU64::new(0), writer });
        let singles = Watched::new(Counter(Arc::clone(&data)), ledger, server.acquire_ms);
        let transactions = Watched::new(Exclusive(Arc::clone(&data)), ledger, server.acquire_ms);
        CounterStore { data, singles: Arc::new(singles), transactions: Arc::new(transactions) }
    }
}

impl Store for CounterStore {
    type Single = Counter;
    type Transaction = Exclusive;

    fn singles(&self) -> &Arc<Watched<Counter>> {
        &self.singles
    }

    fn transactions(&self) -> &Arc<Watched<Exclusive>> {
        &self.transactions
    }

    async fn rows(&self) -> Result<u64> {
        Ok(self.data.rows.load(Ordering::Relaxed))
    }

    async fn clear(&self) -> Result<()> {
        self.data.rows.store(0, Ordering::Relaxed);
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
            self.0.rows.fetch_add(1, Ordering::Relaxed);
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
