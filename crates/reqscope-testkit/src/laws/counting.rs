use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Identity, Reset, Resource};

use super::unwind::{catch_panic, resume};
use crate::gate::Gate;
use crate::outcome::{End, Outcome};
use crate::records::{HandleState, Records};

/// Counts the calls to a resource from the outside, and lets `acquire` and `release` wait at gates.
///
/// So the suite sees what happens to any resource, and can cancel one that never waits by itself.
pub(super) struct Counting<R> {
    resource: Arc<R>,
    pub(super) records: Arc<Records>,
    pub(super) before_acquire: Gate,
    pub(super) before_release: Gate,
    /// Called once, in the poll in which the next handle arrives.
    pub(super) on_arrival: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    mode: Mode,
}

/// What the wrapper adds to a resource, or takes from it.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    /// No shortcuts: every acquire and every release waits, at least at its gate.
    Waiting,
    /// As `Waiting`, and a release as completed settles.
    Settling,
    /// All that the resource can do without waiting.
    Shortcuts,
}

/// A numbered handle.
pub(super) struct Counted<H> {
    handle: H,
    ticket: Ticket,
}

/// The number of a handle. Its drop records the drop of the handle.
struct Ticket {
    id: u64,
    records: Arc<Records>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.records.dropped(self.id);
    }
}

impl<R> Counting<R> {
    pub(super) fn new(resource: Arc<R>, mode: Mode) -> Self {
        let before_acquire = Gate::open();
        before_acquire.always(Outcome::ok().after_polls(1));
        let before_release = Gate::open();
        before_release.always(Outcome::ok().after_polls(1));
        Counting {
            resource,
            records: Arc::default(),
            before_acquire,
            before_release,
            on_arrival: Mutex::default(),
            mode,
        }
    }

    fn count<H>(&self, handle: H) -> Counted<H> {
        Counted { handle, ticket: Ticket { id: self.records.acquired(), records: Arc::clone(&self.records) } }
    }
}

impl<H> Counted<H> {
    pub(super) fn id(&self) -> u64 {
        self.ticket.id
    }

    pub(super) fn get_mut(&mut self) -> &mut H {
        &mut self.handle
    }

    /// Returns the handle itself, which is not counted from here on.
    pub(super) fn into_inner(self) -> H {
        self.ticket.records.ended(self.ticket.id, HandleState::Abandoned);
        self.handle
    }
}

impl<R: Resource> Resource for Counting<R> {
    type Handle = Counted<R::Handle>;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<Self::Handle, Error<R::Cause>> {
        let mut call = self.records.acquiring();
        // Nothing is made while this waits; after it, the resource's own future owns what it makes.
        let answer = match self.before_acquire.end().await {
            End::Ok => catch_panic(self.resource.acquire()).await,
            End::Panic => Err(Box::new("scripted panic") as _),
            _ => Ok(Err(Error::unavailable().at(Stage::Acquiring).with_context("scripted failure"))),
        };
        call.answered();
        let handle = self.count(resume(answer)?);
        let on_arrival = self.on_arrival.lock().take();
        if let Some(on_arrival) = on_arrival {
            on_arrival();
        }
        Ok(handle)
    }

    async fn validate(&self, handle: &mut Self::Handle) -> Result<(), Error<R::Cause>> {
        self.resource.validate(&mut handle.handle).await
    }

    async fn release(&self, Counted { handle, ticket }: Self::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
        self.records.release_began(ticket.id, exit);
        // Cancelled while it waits, handle and ticket are dropped here.
        let answer = match self.before_release.end().await {
            End::Ok => catch_panic(self.resource.release(handle, exit)).await,
            // The handle is released all the same, or the resource would be blamed for the suite's own failure.
            end => {
                drop(catch_panic(self.resource.release(handle, exit)).await);
                match end {
                    End::Panic => Err(Box::new("scripted panic") as _),
                    _ => Ok(Err(Error::unavailable().at(Stage::Releasing).with_context("scripted failure"))),
                }
            }
        };
        self.records.ended(ticket.id, HandleState::Released);
        resume(answer)
    }

    fn try_acquire(&self) -> Option<Self::Handle> {
        match self.mode {
            Mode::Shortcuts => self.resource.try_acquire().map(|handle| self.count(handle)),
            Mode::Waiting | Mode::Settling => None,
        }
    }

    fn probe(&self, handle: &Self::Handle) -> Health {
        self.resource.probe(&handle.handle)
    }

    fn reclaim(&self, Counted { handle, ticket }: Self::Handle, exit: Exit) -> Result<(), Self::Handle> {
        let reclaimed = match self.mode {
            Mode::Shortcuts => self.resource.reclaim(handle, exit),
            Mode::Waiting | Mode::Settling => Err(handle),
        };
        match reclaimed {
            Ok(()) => {
                self.records.release_began(ticket.id, exit);
                self.records.ended(ticket.id, HandleState::Reclaimed);
                Ok(())
            }
            Err(handle) => Err(Counted { handle, ticket }),
        }
    }

    fn settles(&self, exit: Exit) -> bool {
        matches!(self.mode, Mode::Settling) && exit.is_completed() || self.resource.settles(exit)
    }

    fn ends_with_request(&self) -> bool {
        matches!(self.mode, Mode::Settling) || self.resource.ends_with_request()
    }

    fn reset(&self) -> Reset {
        self.resource.reset()
    }

    fn fault(&self, handle: &Self::Handle) -> Option<Error<R::Cause>> {
        self.resource.fault(&handle.handle)
    }

    fn identity(&self) -> Option<Identity> {
        None // The handles of one fixture are counted apart from those of all others.
    }
}
