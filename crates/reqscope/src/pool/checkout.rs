//! The check-out: its future, the steps that it takes, and the wait in the line.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::breaker::Attempt;
use super::clock::Tick;
use super::inner::{Counters, Inner, Note, State, Stub};
use super::pooled::{Parts, Pooled};
use super::slots::Refusal;
use super::validate::Doubtful;
use super::waiters::Ticket;
use super::{attendant, create, janitor};
use crate::cell::Site;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::context::Origin;
use crate::lease::probe_or_dead;
use crate::resource::{Health, Resource};
use crate::rt::sync::Ordering;
use crate::rt::time::Deadline;

pub(super) type Outcome<R, T> = Result<T, Error<<R as Resource>::Cause>>;

type CheckOut<R> = Pin<Box<dyn Future<Output = Result<Pooled<R>, Error<<R as Resource>::Cause>>> + Send>>;

/// The future of [`Pool::get`](super::Pool::get). What is idle and sound it takes at its first poll, without an
/// allocation.
///
/// # Panics
///
/// If it is polled after it has ended.
///
/// # Cancel safety
///
/// Dropping it loses its place in the line and nothing else: what it was granted goes to the next one, and a creation
/// that it has caused goes on for the pool.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::future::PoolGet;
/// use reqscope::{Error, Pool, resource_fn};
/// # use std::{convert::Infallible, time::Duration};
///
/// # let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
/// let get: PoolGet<_> = pool.get();
/// let number = tokio::time::timeout(Duration::from_secs(1), get).await.unwrap().unwrap();
/// # pool.put(number);
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct PoolGet<R: Resource> {
    /// `None`: it is over. What is over is dropped at a glance.
    step: Option<Step<R>>,
    site: Site,
}

enum Step<R: Resource> {
    /// The pool moves on, into what is taken or into a later step.
    First(Arc<Inner<R>>),
    /// In the line, without a timer.
    Queued(Place<R>),
    CheckOut(CheckOut<R>),
}

impl<R: Resource> PoolGet<R> {
    #[inline]
    pub(super) fn new(pool: &Arc<Inner<R>>, site: Site) -> Self {
        PoolGet { step: Some(Step::First(Arc::clone(pool))), site }
    }
}

impl<R: Resource> Future for PoolGet<R> {
    type Output = Result<Pooled<R>, Error<R::Cause>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(Step::First(pool)) = &this.step {
            if let Some((slot, handle)) = pool.take_alone(this.site) {
                if let Some(Step::First(pool)) = this.step.take() {
                    return Poll::Ready(Ok(Pooled::new(pool, slot, handle)));
                }
            }
        }
        this.poll_line(cx)
    }
}

impl<R: Resource> PoolGet<R> {
    /// What there is to do in a crowd: to queue, and to hear of the grant.
    #[inline(never)]
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        let begun = match self.step.take().expect("`PoolGet` polled after it has ended") {
            Step::First(pool) => match pool.take_or_queue(self.site, cx.waker()) {
                Some(First::Taken(slot, handle)) => return Poll::Ready(Ok(Pooled::new(pool, slot, handle))),
                Some(First::Queued(ticket)) => {
                    self.step = Some(Step::Queued(Place::new(pool, ticket)));
                    return Poll::Pending;
                }
                None => (pool, None),
            },
            Step::Queued(mut place) => match place.hear() {
                Some(taken) if taken.is_sound() => return Poll::Ready(Ok(taken.pooled)),
                Some(taken) => (Arc::clone(taken.pooled.pool()), Some(Entered::Taken(taken))),
                // The attendant has been here, or something may have come of what is left to do.
                None => (Arc::clone(place.pool()), Some(Entered::Waiting(place))),
            },
            Step::CheckOut(check_out) => return self.poll_check_out(check_out, cx),
        };
        self.begin_check_out(begun, cx)
    }

    #[cold]
    fn begin_check_out(
        &mut self,
        (pool, begun): (Arc<Inner<R>>, Option<Entered<R>>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        self.poll_check_out(Box::pin(pool.check_out(self.site, begun)), cx)
    }

    #[cold]
    fn poll_check_out(
        &mut self,
        mut check_out: CheckOut<R>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        let outcome = check_out.as_mut().poll(cx);
        if outcome.is_pending() {
            self.step = Some(Step::CheckOut(check_out));
        }
        outcome
    }
}

impl<R: Resource> fmt::Debug for PoolGet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolGet")
            .field("waiting", &matches!(self.step, Some(Step::Queued(_) | Step::CheckOut(_))))
            .finish_non_exhaustive()
    }
}

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
        janitor::start(self);
        let note = self.note(site);
        let (slot, handle) = self.state.lock().slots.take(note, |stub| self.is_fresh(stub, note.since))?;
        self.look_at(slot, handle)
    }

    #[inline]
    pub(super) fn look_at(self: &Arc<Self>, slot: u32, handle: R::Handle) -> Option<(u32, R::Handle)> {
        match probe_or_dead(&*self.resource, &handle) {
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
        janitor::start(&self);
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
