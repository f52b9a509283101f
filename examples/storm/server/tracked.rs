//! A wrapper that tracks every handle of a resource and delays its acquisition.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Chain;
use reqscope::{Error, Exit, Health, Reset, Resource};
use reqscope_sqlite::HasConnection;

use crate::server::accounting::{Accounting, Tracker};
use crate::server::pause::pause;
use crate::server::stage::Ending;

/// A resource whose handles are tracked.
///
/// The role makes two resources of one type distinct, for an extractor that is selected by type.
pub(crate) struct Tracked<R, const ROLE: u8 = CONNECTION> {
    inner: R,
    accounting: Arc<Accounting>,
    /// The longest delay before an acquisition.
    delay: Duration,
}

/// The role of connections, below a pool.
pub(crate) const CONNECTION: u8 = 0;
/// The role of handles for single uses.
pub(crate) const SINGLE: u8 = 1;
/// The role of transactions.
pub(crate) const TRANSACTION: u8 = 2;

/// A handle with its tracker.
pub(crate) struct TrackedHandle<H> {
    inner: H,
    tracker: Tracker,
}

impl<R, const ROLE: u8> Tracked<R, ROLE> {
    pub(crate) fn new(inner: R, accounting: &Arc<Accounting>, delay: Duration) -> Self {
        Tracked { inner, accounting: Arc::clone(accounting), delay }
    }
}

impl<H> TrackedHandle<H> {
    /// Returns the handle, for one use.
    pub(crate) fn using(&mut self) -> &mut H {
        self.tracker.used();
        &mut self.inner
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Records that the handle is lent to the request with this ending.
    pub(crate) fn lent_to(&mut self, ending: &Arc<Ending>) {
        self.tracker.lent_to(ending);
    }
}

// Without a `try_acquire`, which would skip the delay.
impl<R: Resource, const ROLE: u8> Resource for Tracked<R, ROLE> {
    type Handle = TrackedHandle<R::Handle>;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<Self::Handle, Error<R::Cause>> {
        // The delay comes first. After the acquisition it would hold up other transactions.
        pause(self.delay).await;
        // Dropped here, the inner future owns the half-made handle.
        let inner = self.inner.acquire().await.inspect_err(|error| self.record(error))?;
        Ok(TrackedHandle { inner, tracker: Tracker::new(self.accounting.counters()) })
    }

    async fn validate(&self, handle: &mut Self::Handle) -> Result<(), Error<R::Cause>> {
        self.inner.validate(&mut handle.inner).await
    }

    async fn release(
        &self,
        TrackedHandle { inner, tracker }: Self::Handle,
        exit: Exit,
    ) -> Result<(), Error<R::Cause>> {
        tracker.releasing();
        tracker.exit_passed(exit);
        // Dropped here, the tracker counts the handle as abandoned.
        let outcome = self.inner.release(inner, exit).await.inspect_err(|error| self.record(error));
        if outcome.is_ok() {
            self.count_commit(&tracker, exit);
        }
        tracker.released();
        outcome
    }

    fn probe(&self, handle: &Self::Handle) -> Health {
        self.inner.probe(&handle.inner)
    }

    fn reclaim(&self, TrackedHandle { inner, tracker }: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        match self.inner.reclaim(inner, exit) {
            Ok(()) => {
                tracker.releasing();
                tracker.exit_passed(exit);
                self.count_commit(&tracker, exit);
                tracker.released();
                Ok(())
            }
            Err(inner) => Err(TrackedHandle { inner, tracker }),
        }
    }

    fn settles(&self, exit: Exit) -> bool {
        self.inner.settles(exit)
    }

    fn ends_with_request(&self) -> bool {
        self.inner.ends_with_request()
    }

    fn reset(&self) -> Reset {
        self.inner.reset()
    }

    fn fault(&self, handle: &Self::Handle) -> Option<Error<R::Cause>> {
        self.inner.fault(&handle.inner)
    }
}

/// A tracked connection is a connection to the transaction around it.
impl<H: HasConnection> HasConnection for TrackedHandle<H> {
    type Connection = H::Connection;

    fn connection(&self) -> &H::Connection {
        self.inner.connection()
    }

    fn connection_mut(&mut self) -> &mut H::Connection {
        self.using().connection_mut()
    }
}

impl<R: Resource, const ROLE: u8> Tracked<R, ROLE> {
    /// Counts a completed release that settles, which is a commit.
    fn count_commit(&self, tracker: &Tracker, exit: Exit) {
        if exit.is_completed() && self.inner.settles(exit) {
            tracker.counters().committed.add();
        }
    }

    fn record(&self, error: &Error<R::Cause>) {
        self.accounting.counters().record(Chain::new(error));
    }
}
