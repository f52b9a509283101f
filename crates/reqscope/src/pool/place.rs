//! A place in the line, and the wait there.

use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::breaker::Attempt;
use super::create;
use super::inner::{Inner, Note, State};
use super::pooled::Pooled;
use super::waiters::Ticket;
use crate::resource::{Health, Resource};
use crate::time::Deadline;
use crate::{Error, Stage};

pub(super) type Outcome<R, T> = Result<T, Error<<R as Resource>::Cause>>;

/// An object, and whether a look at it is enough.
pub(super) struct Taken<R: Resource> {
    pub(super) pooled: Pooled<R>,
    pub(super) fresh: bool,
}

impl<R: Resource> Taken<R> {
    /// Whether nothing is left to do but to hand it out.
    #[inline]
    pub(super) fn is_sound(&self) -> bool {
        self.fresh && self.pooled.health() != Health::Dead
    }
}

/// A place in the line. Whoever drops it leaves, and passes on what it was granted.
pub(super) struct Place<R: Resource> {
    /// `None` once the grant was heard.
    pool: Option<Arc<Inner<R>>>,
    ticket: Ticket,
}

const STANDS: &str = "who has heard of its grant asks no more";

/// A slot and its handle, and whether a look at that is enough.
type Granted<R> = (u32, <R as Resource>::Handle, bool);

impl<R: Resource> Place<R> {
    pub(super) fn new(pool: Arc<Inner<R>>, ticket: Ticket) -> Self {
        Place { pool: Some(pool), ticket }
    }

    pub(super) fn pool(&self) -> &Arc<Inner<R>> {
        self.pool.as_ref().expect(STANDS)
    }

    /// The grant, if there is one.
    #[inline]
    pub(super) fn hear(&mut self) -> Option<Taken<R>> {
        let pool = self.pool();
        let granted = pool.granted(&mut pool.state.lock(), &self.ticket)?;
        Some(self.take(granted))
    }

    /// It is heard, and there is nothing to leave any more.
    #[inline]
    fn take(&mut self, (slot, handle, fresh): Granted<R>) -> Taken<R> {
        let pool = self.pool.take().expect(STANDS);
        Taken { pooled: Pooled::new(pool, slot, handle), fresh }
    }
}

impl<R: Resource> Drop for Place<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.leave(&self.ticket);
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Somebody goes, and has not heard of a grant.
    #[cold]
    fn leave(self: &Arc<Self>, ticket: &Ticket) {
        let mut state = self.state.lock();
        let (grant, waker) = state.slots.waiters().leave(ticket);
        drop(state);
        drop(waker);
        if let Some((slot, handle)) = grant {
            self.put_unused(slot, handle);
        }
    }

    /// What this one was granted.
    #[inline]
    fn granted(&self, state: &mut State<R>, ticket: &Ticket) -> Option<Granted<R>> {
        let (slot, handle) = state.slots.waiters().take(ticket)?;
        let now = self.clock.now();
        let fresh = state.slots.stub(slot).is_some_and(|stub| self.is_alive(stub, now));
        if let Some(note) = state.slots.note(slot) {
            // The wait is over, and the use begins.
            note.since = now;
        }
        Some((slot, handle, fresh))
    }
}

/// The wait in the line, with all that can come of it.
pub(super) struct Wait<R: Resource> {
    place: Place<R>,
    /// Whether a creation was begun from here: then its outcome is waited for, also behind an open breaker.
    created: bool,
    /// Whether it was left pending: then the error of what it waited for is its own.
    waited: bool,
}

impl<R: Resource> Wait<R> {
    pub(super) fn new(place: Place<R>) -> Self {
        Wait { place, created: false, waited: false }
    }

    pub(super) fn poll(
        &mut self,
        note: Note,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<R, Taken<R>>> {
        let mut found = self.look(cx.waker());
        if let Look::Create(slot, attempt) = found {
            self.created = true;
            if !create::begin(self.place.pool(), slot, attempt, cx) {
                return Poll::Ready(Err(Error::runtime("a pool that has to wait needs a tokio runtime")));
            }
            found = self.look(cx.waker());
        }
        self.waited = true;
        match found {
            Look::Granted(taken) => return Poll::Ready(Ok(taken)),
            Look::Refused(error) => return Poll::Ready(Err(self.place.pool().explain(error, note))),
            Look::Create(slot, attempt) => {
                // One for each poll: on a runtime that is shutting down it came to nothing at once, and would again.
                // The deadline below says so, if it has a clock.
                self.place.pool().create_lost(slot, attempt);
                cx.waker().wake_by_ref();
            }
            Look::Wait => {}
        }
        let missed = ready!(deadline.poll_missed(Stage::Waiting, cx));
        let pool = self.place.pool();
        Poll::Ready(Err(pool.explain(pool.timed_out(missed), note)))
    }

    /// Looks for a grant. If there is none it leaves the waker: whatever happens from here on is heard.
    fn look(&mut self, waker: &Waker) -> Look<R> {
        let spare = waker.clone();
        let pool = self.place.pool();
        let mut state = pool.state.lock();
        if let Some(granted) = pool.granted(&mut state, &self.place.ticket) {
            drop(state);
            return Look::Granted(self.place.take(granted));
        }
        if state.slots.is_closed() {
            return Look::Refused(Error::closed());
        }
        match state.begin(&pool.config, pool.config.min_idle) {
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
                    return Look::Refused(told);
                }
            }
        }
        let old = state.slots.waiters().register(&self.place.ticket, spare);
        drop(state);
        drop(old);
        Look::Wait
    }
}

/// What somebody in the line finds.
enum Look<R: Resource> {
    Granted(Taken<R>),
    Refused(Error<R::Cause>),
    /// A slot, to create something in.
    Create(u32, Attempt),
    Wait,
}
