//! A wrapper that watches every handle of a resource, and makes its acquisition take its time.
use std::sync::Arc;
use std::time::Duration;

use anyhow::Chain;
use reqscope::{Error, Exit, Health, Resource};

use crate::server::accounting::{Badge, Ledger};
use crate::server::pause::pause;
use crate::server::stage::Ending;

/// A resource whose handles wear a badge.
///
/// The role tells two resources of one type apart, for an extractor that asks by type.
pub(crate) struct Watched<R, const ROLE: u8 = CONNECTION> {
    inner: R,
    ledger: Arc<Ledger>,
    /// An acquisition waits for this long at most, before it does its own work.
    delay: Duration,
}

/// Below a pool; for single uses; for transactions.
pub(crate) const CONNECTION: u8 = 0;
pub(crate) const SINGLE: u8 = 1;
pub(crate) const TRANSACTION: u8 = 2;

/// A handle with its badge.
pub(crate) struct Marked<H> {
    inner: H,
    badge: Badge,
}

impl<R, const ROLE: u8> Watched<R, ROLE> {
    pub(crate) fn new(inner: R, ledger: &Arc<Ledger>, delay: Duration) -> Self {
        Watched { inner, ledger: Arc::clone(ledger), delay }
    }
}

impl<H> Marked<H> {
    /// The handle, for one use.
    pub(crate) fn using(&mut self) -> &mut H {
        self.badge.used();
        &mut self.inner
    }

    pub(crate) fn badge(&self) -> &Badge {
        &self.badge
    }

    /// Says whose handle it is from now on.
    pub(crate) fn lent_to(&mut self, ending: &Arc<Ending>) {
        self.badge.lent_to(ending);
    }
}

// It has no `try_acquire`: that would go around the delay.
impl<R: Resource, const ROLE: u8> Resource for Watched<R, ROLE> {
    type Handle = Marked<R::Handle>;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<Self::Handle, Error<R::Cause>> {
        // The delay comes first: afterwards there may be a transaction that holds up others.
        pause(self.delay).await;
        // Dropped here, the half-made handle belongs to the inner future.
        let inner = self.inner.acquire().await.inspect_err(|error| self.heard(error))?;
        Ok(Marked { inner, badge: Badge::issue(self.ledger.books()) })
    }

    async fn validate(&self, handle: &mut Self::Handle) -> Result<(), Error<R::Cause>> {
        self.inner.validate(&mut handle.inner).await
    }

    async fn release(&self, Marked { inner, badge }: Self::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
        badge.releasing();
        badge.told(exit);
        // Dropped here, the badge says that the handle was abandoned.
        let outcome = self.inner.release(inner, exit).await.inspect_err(|error| self.heard(error));
        if outcome.is_ok() {
            self.committed(&badge, exit);
        }
        badge.released();
        outcome
    }

    fn probe(&self, handle: &Self::Handle) -> Health {
        self.inner.probe(&handle.inner)
    }

    fn reclaim(&self, Marked { inner, badge }: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        match self.inner.reclaim(inner, exit) {
            Ok(()) => {
                badge.releasing();
                badge.told(exit);
                self.committed(&badge, exit);
                badge.released();
                Ok(())
            }
            Err(inner) => Err(Marked { inner, badge }),
        }
    }

    fn settles(&self, exit: Exit) -> bool {
        self.inner.settles(exit)
    }
}

/// A connection that is watched is a connection still, to the transaction around it.
impl<H: AsRef<T>, T> AsRef<T> for Marked<H> {
    fn as_ref(&self) -> &T {
        self.inner.as_ref()
    }
}

impl<H: AsMut<T>, T> AsMut<T> for Marked<H> {
    fn as_mut(&mut self) -> &mut T {
        self.using().as_mut()
    }
}

impl<R: Resource, const ROLE: u8> Watched<R, ROLE> {
    /// What settles and was completed is a commit.
    fn committed(&self, badge: &Badge, exit: Exit) {
        if exit.is_completed() && self.inner.settles(exit) {
            badge.books().committed.add();
        }
    }

    fn heard(&self, error: &Error<R::Cause>) {
        self.ledger.books().heard(Chain::new(error));
    }
}
