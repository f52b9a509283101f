//! A registry of all connections by their number on the server, to find them in the server's own list.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Health, Reset, Resource};
use reqscope_mysql::MySqlConn;
use reqscope_mysql::mysql_async::prelude::Queryable;

/// What the storm needs of a connection, whether it is the adapter's or the driver's.
pub(crate) trait AnyConnection: Queryable + Send + 'static {
    /// Returns its number on the server.
    fn number(&self) -> u64;
    /// Returns the number that the last statement has set.
    fn last_insert_id(&self) -> Option<u64>;
}

impl AnyConnection for MySqlConn {
    fn number(&self) -> u64 {
        self.id()
    }

    fn last_insert_id(&self) -> Option<u64> {
        MySqlConn::last_insert_id(self)
    }
}

/// All connections that were ever opened, and when they were retired.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// By number: when the connection was retired, if it was.
    retired: HashMap<u64, Option<Instant>>,
    /// How many connections were retired in the middle of a statement.
    cut: u64,
}

impl Registry {
    /// Returns whether the connection belongs to the storm.
    pub(crate) fn knows(&self, number: u64) -> bool {
        self.0.lock().retired.contains_key(&number)
    }

    /// Returns whether the connection had been retired before `then`, so that no statement may run on it any more.
    pub(crate) fn was_retired(&self, number: u64, then: Instant) -> bool {
        matches!(self.0.lock().retired.get(&number), Some(Some(since)) if *since < then)
    }

    /// Returns how many connections were retired in the middle of a statement since the last reset.
    pub(crate) fn cut(&self) -> u64 {
        self.0.lock().cut
    }

    pub(crate) fn reset_cut(&self) {
        self.0.lock().cut = 0;
    }

    fn opened(&self, number: u64) {
        self.0.lock().retired.insert(number, None);
    }

    fn count_cut(&self) {
        self.0.lock().cut += 1;
    }
}

/// A resource whose connections are entered in the registry.
pub(crate) struct Registered<R> {
    inner: R,
    registry: Arc<Registry>,
    /// The fault `orphan`: a statement on a retired connection is not stopped.
    keeps_running: bool,
}

impl<R> Registered<R> {
    pub(crate) fn new(inner: R, registry: &Arc<Registry>, keeps_running: bool) -> Self {
        Registered { inner, registry: Arc::clone(registry), keeps_running }
    }
}

impl<R: Resource<Handle: AnyConnection>> Resource for Registered<R> {
    type Handle = R::Handle;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<R::Handle, Error<R::Cause>> {
        let connection = self.inner.acquire().await?;
        self.registry.opened(connection.number());
        Ok(connection)
    }

    async fn validate(&self, connection: &mut R::Handle) -> Result<(), Error<R::Cause>> {
        self.inner.validate(connection).await
    }

    async fn release(&self, connection: R::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
        // Retires the connection also if this future is dropped, because a deadline has passed.
        let _gone = RetireOnDrop { registry: &self.registry, number: connection.number() };
        // A storm's server is never stopped, so a dead connection is one that was cut.
        if self.inner.probe(&connection) == Health::Dead {
            self.registry.count_cut();
            if self.keeps_running {
                return Ok(());
            }
        }
        self.inner.release(connection, exit).await
    }

    fn probe(&self, connection: &R::Handle) -> Health {
        self.inner.probe(connection)
    }

    fn reset(&self) -> Reset {
        self.inner.reset()
    }

    fn fault(&self, connection: &R::Handle) -> Option<Error<R::Cause>> {
        self.inner.fault(connection)
    }
}

/// Marks the connection as retired when it is dropped. Its slot in the pool is free then.
struct RetireOnDrop<'a> {
    registry: &'a Registry,
    number: u64,
}

impl Drop for RetireOnDrop<'_> {
    fn drop(&mut self) {
        self.registry.0.lock().retired.insert(self.number, Some(Instant::now()));
    }
}
