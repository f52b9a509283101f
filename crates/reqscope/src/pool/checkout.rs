//! The way out: what was used last, else a place in the line.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::clock::Tick;
use super::doubtful::Doubtful;
use super::inner::{Counters, Inner, Note, Stub};
use super::place::{Outcome, Place, Taken, Wait};
use super::pooled::{Parts, Pooled};
use super::slots::Refusal;
use super::waiters::Ticket;
use super::{attendant, upkeep};
use crate::cell::Site;
use crate::context::Origin;
use crate::lease::look;
use crate::resource::{Health, Resource};
use crate::sync::Ordering;
use crate::time::Deadline;
use crate::{Error, Exit, Stage};

/// What the first look brings.
pub(super) enum First<R: Resource> {
    Taken(u32, R::Handle),
    Queued(Ticket),
}

/// The first step of a check-out.
pub(super) enum Entered<R: Resource> {
    Taken(Taken<R>),
    Waiting(Place<R>),
}

impl<R: Resource> Inner<R> {
    pub(super) fn note(&self, site: Site) -> Note {
        let origin = Origin::current().unwrap_or(Origin { taken_at: site, scope: None });
        Note { origin, since: self.clock.now() }
    }

    /// Whether there is a crowd, as far as one can tell without the lock.
    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        self.attended.load(Ordering::Relaxed)
    }

    /// Whether a look at it is enough.
    #[inline]
    fn is_fresh(&self, stub: &Stub<R>, now: Tick) -> bool {
        now.ticks_since(stub.returned) < self.fresh && stub.expires > now
    }

    /// The same, where there is time to think of the proofs besides.
    pub(super) fn is_alive(&self, stub: &Stub<R>, now: Tick) -> bool {
        now.ticks_since(stub.alive_at()) < self.fresh && stub.expires > now
    }

    /// An object that needs neither waiting nor a proof: its slot and its handle, which the caller puts into a
    /// [`Pooled`].
    #[inline]
    pub(super) fn take_now(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        let note = self.note(site);
        let mut state = self.state.lock();
        if !state.upkeep {
            drop(state);
            return self.take_unattended(site);
        }
        let (slot, handle) = state.slots.take(note, |stub| self.is_fresh(stub, note.since))?;
        drop(state);
        self.look_at(slot, handle)
    }

    /// The same for one who can wait: in a crowd it is the line that matters, which is joined after another look.
    #[inline]
    pub(super) fn take_alone(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        if self.is_crowded() { None } else { self.take_now(site) }
    }

    /// The same where nobody has kept the clock: it is set first, or what is old would look fresh.
    #[cold]
    fn take_unattended(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        upkeep::start(self);
        let note = self.note(site);
        let (slot, handle) = self.state.lock().slots.take(note, |stub| self.is_fresh(stub, note.since))?;
        self.look_at(slot, handle)
    }

    #[inline]
    pub(super) fn look_at(self: &Arc<Self>, slot: u32, handle: R::Handle) -> Option<(u32, R::Handle)> {
        match look(&*self.resource, &handle) {
            Health::Dead => {
                self.found_dead(slot, handle);
                None
            }
            _ => Some((slot, handle)),
        }
    }

    /// What is idle, or a place in the line for whoever has nothing else to hope for: one step, and all that a check-out
    /// does in a crowd. `None`: this one needs more.
    pub(super) fn take_or_queue(self: &Arc<Self>, site: Site, waker: &Waker) -> Option<First<R>> {
        let (note, mut waker) = (self.note(site), Some(waker.clone()));
        let mut state = self.state.lock();
        if !self.attended.load(Ordering::Relaxed) {
            return None;
        }
        let limit = self.config.max_waiters(state.slots.max());
        if let Some(ticket) = state.slots.queue(note, limit, &mut waker) {
            return Some(First::Queued(ticket));
        }
        let (slot, handle) = state.slots.take(note, |stub| self.is_fresh(stub, note.since))?;
        drop(state);
        self.look_at(slot, handle).map(|(slot, handle)| First::Taken(slot, handle))
    }

    /// An object, after all the waiting that is needed. `begun`: how it was found, if it is not the beginning.
    pub(super) async fn check_out(self: Arc<Self>, site: Site, begun: Option<Entered<R>>) -> Outcome<R, Pooled<R>> {
        upkeep::start(&self);
        let note = self.note(site);
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        let (mut begun, mut again, mut unsound) = (begun, false, 0);
        loop {
            let entered = begun.take().map_or_else(|| self.enter(note, again), Ok)?;
            let Taken { pooled, fresh } = match entered {
                Entered::Taken(taken) => taken,
                // It leaves the line if we are dropped, and passes on what it was granted.
                Entered::Waiting(place) => {
                    let mut wait = Wait::new(place);
                    poll_fn(|cx| wait.poll(note, &mut deadline, cx)).await?
                }
            };
            let (pooled, proof) = match pooled.health() {
                Health::Dead => (pooled, Err(Error::unavailable().at(Stage::Validating).with_context("it was dead"))),
                // It was proved on its way back, if it had to be.
                _ if fresh => (pooled, Ok(())),
                // If we are dropped here the object ends.
                _ => self.prove(pooled, &mut deadline).await?,
            };
            let Err(error) = proof else { return Ok(pooled) };
            let Parts { slot, handle, .. } = pooled.into_parts();
            self.found_dead(slot, handle);
            unsound += 1;
            if unsound > self.config.max_size {
                // The last one was new. Where not even those are sound, going on would do nothing but reconnect.
                return Err(self.explain(error.into_unavailable(), note));
            }
            // It was our turn, and still is.
            again = true;
        }
    }

    /// What is idle, old or not, or a place in the line. Both are one step: nothing becomes idle in between.
    fn enter(self: &Arc<Self>, note: Note, again: bool) -> Outcome<R, Entered<R>> {
        let mut fresh = false;
        let mut state = self.state.lock();
        let taken = state.slots.take(note, |stub| {
            fresh = self.is_alive(stub, note.since);
            true
        });
        if let Some((slot, handle)) = taken {
            drop(state);
            return Ok(Entered::Taken(Taken { pooled: Pooled::new(Arc::clone(self), slot, handle), fresh }));
        }
        let limit = self.config.max_waiters(state.slots.max());
        let joined = state.slots.join(note, limit, again);
        let crowded = state.slots.counts().waiting > 1;
        drop(state);
        if crowded {
            attendant::start(self);
        }
        match joined {
            Ok(ticket) => Ok(Entered::Waiting(Place::new(Arc::clone(self), ticket))),
            Err(Refusal::Closed) => Err(Error::closed()),
            Err(Refusal::Full) => Err(self.explain(Error::exhausted(), note)),
        }
    }

    /// Whether it is alive and clean, and if not, why.
    ///
    /// A proof that is cut ends the object. Another one would not help: it would take the answer that the first left
    /// unread for its own, and so would every user after it.
    async fn prove(
        self: &Arc<Self>,
        pooled: Pooled<R>,
        deadline: &mut Deadline,
    ) -> Outcome<R, (Pooled<R>, Outcome<R, ()>)> {
        let Parts { pool, slot, handle } = pooled.into_parts();
        let mut doubtful = Doubtful::new(pool, slot, handle);
        let proof = {
            let mut proof = pin!(self.validate(doubtful.handle(), self.config.validate_timeout));
            poll_fn(|cx| match proof.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
                Poll::Pending => {
                    deadline.poll_missed(Stage::Validating, cx).map(|missed| Err(self.timed_out(missed)))
                }
            })
            .await?
        };
        Ok((Pooled::new(Arc::clone(self), slot, doubtful.into_handle()), proof))
    }

    /// The acquire timeout has passed.
    pub(super) fn timed_out(&self, missed: Error<R::Cause>) -> Error<R::Cause> {
        Counters::add(&self.counters.timeouts, u64::from(missed.is_timeout()));
        missed
    }

    /// One of a kind is dead: the others that are idle must prove themselves, all at once.
    #[cold]
    fn found_dead(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        self.discard(slot, handle, Exit::Cancelled);
        self.suspect(|_| true);
    }
}
