use std::future::poll_fn;
use std::panic::Location;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use reqscope::context::AcquireContext;
use reqscope::error::Stage;
use reqscope::{Error, Lease};
use reqscope_driver::{Access, CommitError, Connections, Gate, HasConnection, Transact};
use tokio::time::Instant;

use crate::database::{Database, Holder, WriterPermit};
use crate::{SqliteConn, SqliteError};

/// How long before the end of its acquisition a writer may leave the queue, because it begins to wait a moment after the
/// acquisition has begun. Otherwise the error would be that of the acquisition, which cannot name the holder.
const AHEAD: Duration = Duration::from_millis(10);

impl Transact for SqliteConn {
    type Error = SqliteError;
    type Options = ();
    type Gate = WriterQueue;

    async fn begin(
        &mut self,
        _options: &(),
        _access: Access,
        permit: Option<WriterPermit>,
    ) -> Result<(), SqliteError> {
        // From the first call on, the permit is with the connection's thread, which drops it when no transaction is open
        // any more.
        self.begin(permit)
    }

    async fn commit(&mut self, _options: &()) -> Result<(), CommitError<SqliteError>> {
        self.commit().await.map_err(|cause| match cause {
            SqliteError::ThreadGone => CommitError::Unknown(cause),
            cause => CommitError::Refused(cause),
        })
    }

    /// Waits until a cut closure has stopped, and rolls back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt.
    async fn roll_back(&mut self, _options: &()) -> Result<(), SqliteError> {
        self.clean().await
    }

    async fn check(&mut self) -> Result<(), SqliteError> {
        match self.is_idle() {
            false => Err(SqliteError::InDoubt),
            true if !self.has_transaction() => Err(SqliteError::RolledBack),
            true => Ok(()),
        }
    }

    fn is_open(&self) -> bool {
        self.is_idle() && self.has_transaction()
    }

    fn condemn(&mut self) {
        self.condemn();
    }
}

/// The queue of writers of one database, in which a transaction that may write waits before it takes a connection.
#[derive(Default)]
pub struct WriterQueue {
    /// Known only from a connection, so the first acquisition sets it.
    database: OnceLock<Arc<Database>>,
}

impl Gate<SqliteConn> for WriterQueue {
    /// `None` for a transaction that only reads.
    type Permit = Option<WriterPermit>;

    async fn enter<P: Connections<Connection = SqliteConn>>(
        &self,
        connections: &Arc<P>,
        access: Access,
        caller: &'static Location<'static>,
    ) -> Result<(Lease<P>, Option<WriterPermit>), Error<SqliteError>> {
        if access == Access::Read {
            return Ok((Lease::acquire_from(connections, caller).await?, None));
        }
        let began = Instant::now();
        let database = match self.database.get() {
            Some(database) => database,
            None => {
                let lease = Lease::acquire_from(connections, caller).await?;
                let database = self.database.get_or_init(|| Arc::clone(lease.connection().database()));
                if let Some(permit) = database.try_writer() {
                    return Ok((lease, Some(permit)));
                }
                // Another transaction is writing: return the connection and wait in the queue.
                Lease::complete(lease).await?;
                database
            }
        };
        // If this is dropped here, it leaves the queue; if it is dropped later, the permit goes to the next writer.
        let permit = match database.try_writer() {
            Some(permit) => permit,
            None => wait_for_turn(database, began).await?,
        };
        let lease = Lease::acquire_from(connections, caller).await?;
        if !Arc::ptr_eq(database, lease.connection().database()) {
            Lease::complete(lease).await?;
            return Err(Error::permanent(SqliteError::OtherDatabase));
        }
        Ok((lease, Some(permit)))
    }
}

/// Waits for the turn to write until the acquisition that `began` then has to end. It keeps no timer: at its deadline, an
/// acquisition is polled once more.
async fn wait_for_turn(database: &Database, began: Instant) -> Result<WriterPermit, Error<SqliteError>> {
    let context = AcquireContext::current();
    let end = context.as_ref().and_then(|context| {
        let timeout = context.acquire_timeout();
        let request = context.deadline().map(Instant::from_std);
        let end = began.checked_add(timeout).into_iter().chain(request).min()?;
        end.checked_sub(AHEAD.min(timeout / 10))
    });
    let mut turn = pin!(database.writer());
    poll_fn(|cx| match turn.as_mut().poll(cx) {
        Poll::Ready(permit) => Poll::Ready(Ok(permit)),
        Poll::Pending if end.is_some_and(|end| Instant::now() >= end) => {
            Poll::Ready(Err(waited_too_long(database, context.as_ref(), began.elapsed())))
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cold]
fn waited_too_long(database: &Database, own: Option<&AcquireContext>, waited: Duration) -> Error<SqliteError> {
    let error = Error::timeout(Stage::Waiting, waited);
    let turn = format!("the turn to write to {}", database.path().display());
    let Some(Holder { context, since }) = database.holder() else {
        return error.with_context(format!("another transaction had {turn}"));
    };
    let held = since.elapsed().as_secs_f64();
    let is_own = context.as_ref().zip(own).is_some_and(|(holder, own)| holder.is_same_scope(own));
    let label = context.as_ref().and_then(AcquireContext::label);
    let message = match label {
        _ if is_own => {
            format!("this request itself has had {turn} for {held:.1} s: write in one transaction per request")
        }
        Some(label) => format!("{label} has had {turn} for {held:.1} s"),
        None => format!("another transaction has had {turn} for {held:.1} s"),
    };
    match context {
        Some(holder) => error.with_context(message).with_holder(holder.taken_at()),
        None => error.with_context(message),
    }
}
