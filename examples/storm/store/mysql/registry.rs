//! Connections whose numbers on the server are known, to be found again in the server's own list.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use reqscope::{Error, Exit, Health, Resource};
use reqscope_mysql::MySqlConn;
use reqscope_mysql::mysql_async::prelude::Queryable;

/// What the storm wants of a connection, be it careful or not.
pub(crate) trait Connection: Queryable + Send + 'static {
    /// Its number on the server.
    fn number(&self) -> u64;
    /// The number that the last statement left.
    fn last_insert_id(&self) -> Option<u64>;
}

impl Connection for MySqlConn {
    fn number(&self) -> u64 {
        self.id()
    }

    fn last_insert_id(&self) -> Option<u64> {
        MySqlConn::last_insert_id(self)
    }
}

/// All connections that there ever were, and how they went.
#[derive(Default)]
pub(crate) struct Register(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// By number: since when each is given up, if it is.
    given_up: HashMap<u64, Option<Instant>>,
    cut: u64,
}

impl Register {
    /// Is this a connection of ours?
    pub(crate) fn knows(&self, number: u64) -> bool {
        self.0.lock().given_up.contains_key(&number)
    }

    /// Had this connection been given up by then, so that nothing may have run there any more?
    pub(crate) fn had_given_up(&self, number: u64, then: Instant) -> bool {
        matches!(self.0.lock().given_up.get(&number), Some(Some(since)) if *since < then)
    }

    /// How many were given up in the middle of a statement, since this was last forgotten.
    pub(crate) fn cut(&self) -> u64 {
        self.0.lock().cut
    }

    pub(crate) fn forget_cut(&self) {
        self.0.lock().cut = 0;
    }

    fn made(&self, number: u64) {
        self.0.lock().given_up.insert(number, None);
    }

    fn cut_in_a_statement(&self) {
        self.0.lock().cut += 1;
    }
}

/// A resource whose connections are entered in the register.
pub(crate) struct Traced<R> {
    inner: R,
    register: Arc<Register>,
    /// A mistake: what runs on a connection that is given up runs on.
    lets_run: bool,
}

impl<R> Traced<R> {
    pub(crate) fn new(inner: R, register: &Arc<Register>, lets_run: bool) -> Self {
        Traced { inner, register: Arc::clone(register), lets_run }
    }
}

impl<R: Resource<Handle: Connection>> Resource for Traced<R> {
    type Handle = R::Handle;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<R::Handle, Error<R::Cause>> {
        let connection = self.inner.acquire().await?;
        self.register.made(connection.number());
        Ok(connection)
    }

    async fn validate(&self, connection: &mut R::Handle) -> Result<(), Error<R::Cause>> {
        self.inner.validate(connection).await
    }

    async fn release(&self, connection: R::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
        // Dropped here, when a deadline has passed: it is given up, too.
        let _gone = GivenUp { register: &self.register, number: connection.number() };
        // Nobody stops the server of a storm: a dead one was cut.
        if self.inner.probe(&connection) == Health::Dead {
            self.register.cut_in_a_statement();
            if self.lets_run {
                return Ok(());
            }
        }
        self.inner.release(connection, exit).await
    }

    fn probe(&self, connection: &R::Handle) -> Health {
        self.inner.probe(connection)
    }
}

/// Enters at its end that the connection is given up, and its slot in the pool free.
struct GivenUp<'a> {
    register: &'a Register,
    number: u64,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.register.0.lock().given_up.insert(self.number, Some(Instant::now()));
    }
}
