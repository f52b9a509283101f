//! The way out: what was used last, else a place in the line.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::breaker::Attempt;
use super::clock::Tick;
use super::doubtful::Doubtful;
use super::inner::{Counters, Inner, Note, Stub};
use super::pooled::{Parts, Pooled};
use super::slots::Refusal;
use super::waiters::Ticket;
use super::{create, upkeep};
use crate::cell::Site;
use crate::context::Origin;
use crate::lease::look;
use crate::resource::{Health, Resource};
use crate::time::Deadline;
use crate::{Error, Exit, Stage};

type Outcome<R, T> = Result<T, Error<<R as Resource>::Cause>>;

/// An object, and whether a look at it is enough.
struct Taken<R: Resource> {
    pooled: Pooled<R>,
    fresh: bool,
}

impl<R: Resource> Inner<R> {
    pub(super) fn note(&self, site: Site) -> Note {
        let origin = Origin::current().unwrap_or(Origin { taken_at: site, scope: None });
        Note { origin, since: self.clock.now() }
    }

    /// Whether a look at it is enough.
    #[inline]
    fn is_fresh(&self, stub: &Stub<R>, now: Tick) -> bool {
        now.ticks_since(stub.returned) < self.fresh && stub.expires > now
    }

    /// The same, where there is time to think of the proofs besides.
    fn is_alive(&self, stub: &Stub<R>, now: Tick) -> bool {
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

    /// The same where nobody has kept the clock: it is set first, or what is old would look fresh.
    #[cold]
    fn take_unattended(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        upkeep::start(self);
        let note = self.note(site);
        let (slot, handle) = self.state.lock().slots.take(note, |stub| self.is_fresh(stub, note.since))?;
        self.look_at(slot, handle)
    }

    #[inline]
    fn look_at(self: &Arc<Self>, slot: u32, handle: R::Handle) -> Option<(u32, R::Handle)> {
        match look(&*self.resource, &handle) {
            Health::Dead => {
                self.found_dead(slot, handle);
                None
            }
            _ => Some((slot, handle)),
        }
    }

    /// An object, after all the waiting that is needed.
    pub(super) async fn check_out(self: &Arc<Self>, site: Site) -> Outcome<R, Pooled<R>> {
        upkeep::start(self);
        let note = self.note(site);
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        let (mut again, mut unsound) = (false, 0);
        loop {
            let Taken { pooled, fresh } = match self.enter(note, again)? {
                Entered::Taken(taken) => taken,
                // It leaves the line if we are dropped, and passes on what it was granted.
                Entered::Waiting(mut place) => poll_fn(|cx| place.poll(note, &mut deadline, cx)).await?,
            };
            let (pooled, proof) = match look(&*self.resource, &pooled) {
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
    fn enter(self: &Arc<Self>, note: Note, again: bool) -> Outcome<R, Entered<'_, R>> {
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
        drop(state);
        match joined {
            Ok(ticket) => {
                Counters::add(&self.counters.waits, u64::from(!again));
                Ok(Entered::Waiting(Place { pool: self, ticket, created: false, waited: false }))
            }
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
    fn timed_out(&self, missed: Error<R::Cause>) -> Error<R::Cause> {
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

/// The first step of a check-out.
enum Entered<'a, R: Resource> {
    Taken(Taken<R>),
    Waiting(Place<'a, R>),
}

/// A place in the line.
struct Place<'a, R: Resource> {
    pool: &'a Arc<Inner<R>>,
    ticket: Ticket,
    /// Whether a creation was begun from here: then its outcome is waited for, also behind an open breaker.
    created: bool,
    /// Whether it was left pending: then the error of what it waited for is its own.
    waited: bool,
}

impl<R: Resource> Place<'_, R> {
    fn poll(&mut self, note: Note, deadline: &mut Deadline, cx: &mut Context<'_>) -> Poll<Outcome<R, Taken<R>>> {
        let mut found = self.look(cx.waker());
        if let Look::Create(slot, attempt) = found {
            self.created = true;
            if !create::begin(self.pool, slot, attempt, cx) {
                return Poll::Ready(Err(Error::runtime("a pool that has to wait needs a tokio runtime")));
            }
            found = self.look(cx.waker());
        }
        self.waited = true;
        match found {
            Look::Ready(outcome) => return Poll::Ready(outcome.map_err(|error| self.pool.explain(error, note))),
            Look::Create(slot, attempt) => {
                // One for each poll: on a runtime that is shutting down it came to nothing at once, and would again.
                // The deadline below says so, if it has a clock.
                self.pool.create_lost(slot, attempt);
                cx.waker().wake_by_ref();
            }
            Look::Wait => {}
        }
        let missed = ready!(deadline.poll_missed(Stage::Waiting, cx));
        Poll::Ready(Err(self.pool.explain(self.pool.timed_out(missed), note)))
    }

    /// Looks for a grant. If there is none it leaves the waker: whatever happens from here on is heard.
    fn look(&self, waker: &Waker) -> Look<R> {
        let spare = waker.clone();
        let mut state = self.pool.state.lock();
        if let Some((slot, handle)) = state.slots.waiters().take(&self.ticket) {
            let now = self.pool.clock.now();
            let fresh = state.slots.stub(slot).is_some_and(|stub| self.pool.is_alive(stub, now));
            if let Some(note) = state.slots.note(slot) {
                // The wait is over, and the use begins.
                note.since = now;
            }
            drop(state);
            let pooled = Pooled::new(Arc::clone(self.pool), slot, handle);
            return Look::Ready(Ok(Taken { pooled, fresh }));
        }
        if state.slots.is_closed() {
            return Look::Ready(Err(Error::closed()));
        }
        match state.begin(&self.pool.config, self.pool.config.min_idle) {
            Ok(Some((slot, attempt))) => return Look::Create(slot, attempt),
            Ok(None) => {}
            Err(refusal) => {
                let probing = refusal.next_probe.is_none();
                let counts = state.slots.counts();
                let hopes = counts.lent + counts.ending + counts.creating.saturating_sub(usize::from(probing));
                // What is out may come back, and a creation of our own is waited for.
                if hopes == 0 && !(probing && self.created) {
                    drop(state);
                    let cause = refusal.cause;
                    let told =
                        if self.waited || self.created { cause.into_unavailable() } else { cause.into_refusal() };
                    return Look::Ready(Err(told));
                }
            }
        }
        let old = state.slots.waiters().register(&self.ticket, spare);
        drop(state);
        drop(old);
        Look::Wait
    }
}

/// What somebody in the line finds.
enum Look<R: Resource> {
    Ready(Outcome<R, Taken<R>>),
    /// A slot, to create something in.
    Create(u32, Attempt),
    Wait,
}

impl<R: Resource> Drop for Place<'_, R> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        let (grant, waker) = state.slots.waiters().leave(&self.ticket);
        drop(state);
        drop(waker);
        if let Some((slot, handle)) = grant {
            self.pool.put_unused(slot, handle);
        }
    }
}
