//! The check-out: its future, its steps, and the wait in the queue.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::breaker::Attempt;
use super::clock::Tick;
use super::create::LostError;
use super::inner::{Counters, HandleMeta, Holder, Inner, PoolState};
use super::pooled::{Parts, Pooled};
use super::slots::JoinError;
use super::validate::Unvalidated;
use super::waiters::Ticket;
use super::{create, janitor, queue_timer};
use crate::cell::Site;
use crate::details::Details;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::acquire::is_lost;
use crate::lease::context::{AcquireContext, Origin};
use crate::lease::{Caller, probe_or_dead};
use crate::resource::{Health, Resource};
use crate::rt::catch::{self, Quiet};
use crate::rt::runtime::{Runtime, coop};
use crate::rt::sync::Ordering;
use crate::rt::time::{self, Deadline};

pub(super) type PoolResult<R, T> = Result<T, Error<<R as Resource>::Cause>>;

/// Dropped quietly, because it may hold the future of a validation.
type CheckOut<R> = Quiet<Pin<Box<dyn Future<Output = Result<Pooled<R>, Error<<R as Resource>::Cause>>> + Send>>>;

/// The future returned by [`Pool::get`](super::Pool::get), whose docs list the errors. If a sound handle is idle, the
/// first poll takes it, without an allocation.
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Cancel safety
///
/// If the future is dropped, it loses its place in the queue: a granted handle goes to the next waiter, and a creation
/// that the future has started continues for the pool. A handle that is being validated for the future is retired.
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
    /// `None` after completion, which makes the drop cheap.
    step: Option<GetStep<R>>,
    site: Site,
}

enum GetStep<R: Resource> {
    /// Before the first poll. The pool moves on into a `Pooled` or a later step.
    First(Arc<Inner<R>>),
    /// In the queue, without a timer.
    Queued(QueuedTicket<R>),
    CheckOut(CheckOut<R>),
}

impl<R: Resource> PoolGet<R> {
    #[inline]
    pub(super) fn new(pool: &Arc<Inner<R>>, site: Site) -> Self {
        PoolGet { step: Some(GetStep::First(Arc::clone(pool))), site }
    }
}

impl<R: Resource> Future for PoolGet<R> {
    type Output = Result<Pooled<R>, Error<R::Cause>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let budget = ready!(coop::poll_proceed(cx));
        let this = &mut *self;
        if let Some(GetStep::First(pool)) = &this.step {
            if let Some((slot, handle)) = pool.take_uncrowded(this.site) {
                if let Some(GetStep::First(pool)) = this.step.take() {
                    budget.made_progress();
                    return Poll::Ready(Ok(Pooled::new(pool, slot, handle)));
                }
            }
        }
        let outcome = this.poll_queue(cx);
        if outcome.is_ready() {
            budget.made_progress();
        }
        outcome
    }
}

impl<R: Resource> PoolGet<R> {
    /// Joins the queue, or takes a grant: all that a check-out does while many callers wait.
    #[inline(never)]
    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        let begun = match self.step.take().expect("`PoolGet` polled after completion") {
            GetStep::First(pool) => match pool.take_or_queue(self.site, cx.waker()) {
                Some(First::Taken(slot, handle)) => return Poll::Ready(Ok(Pooled::new(pool, slot, handle))),
                Some(First::Queued(ticket)) => {
                    self.step = Some(GetStep::Queued(QueuedTicket::new(pool, ticket)));
                    return Poll::Pending;
                }
                None => (pool, None),
            },
            GetStep::Queued(mut queued) => match queued.take_grant() {
                Some(taken) if taken.is_sound() => return Poll::Ready(Ok(taken.pooled)),
                Some(taken) => (Arc::clone(taken.pooled.pool()), Some(Entered::Taken(taken))),
                // The queue timer has woken it to create a timer, or there may be a creation to begin.
                None => (Arc::clone(queued.pool()), Some(Entered::Waiting(queued))),
            },
            GetStep::CheckOut(check_out) => return self.poll_check_out(check_out, cx),
        };
        self.begin_check_out(begun, cx)
    }

    #[cold]
    fn begin_check_out(
        &mut self,
        (pool, begun): (Arc<Inner<R>>, Option<Entered<R>>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        self.poll_check_out(Quiet::new(Box::pin(pool.check_out(self.site, begun))), cx)
    }

    #[cold]
    fn poll_check_out(
        &mut self,
        mut check_out: CheckOut<R>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        let outcome = check_out.as_mut().poll(cx);
        if outcome.is_pending() {
            self.step = Some(GetStep::CheckOut(check_out));
        }
        outcome
    }
}

impl<R: Resource> fmt::Debug for PoolGet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolGet")
            .field("waiting", &matches!(self.step, Some(GetStep::Queued(_) | GetStep::CheckOut(_))))
            .finish_non_exhaustive()
    }
}

/// The result of the first step.
pub(super) enum First<R: Resource> {
    Taken(u32, R::Handle),
    Queued(Ticket),
}

/// How a check-out begins.
pub(super) enum Entered<R: Resource> {
    Taken(Taken<R>),
    Waiting(QueuedTicket<R>),
}

impl<R: Resource> Inner<R> {
    /// Returns the holder for a caller at `site`, or for the scope or the wrapper that it acts for.
    #[inline]
    pub(super) fn holder(&self, site: Site) -> Holder {
        let since = self.clock.now();
        let (origin, details) = AcquireContext::for_handle_of(&self.reaper)
            .unwrap_or((Origin { taken_at: site, scope: None }, Details::NONE));
        Holder { origin, details, since }
    }

    /// Returns whether many callers wait, as far as can be seen without the lock.
    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        self.has_queue_timer.load(Ordering::Relaxed)
    }

    /// Returns whether probing the handle is enough.
    #[inline]
    fn is_fresh(&self, meta: &HandleMeta<R>, now: Tick) -> bool {
        now.ticks_since(meta.returned) < self.fresh && meta.expires > now
    }

    /// Returns whether probing the handle is enough, and also counts its background validations.
    pub(super) fn is_alive(&self, meta: &HandleMeta<R>, now: Tick) -> bool {
        now.ticks_since(meta.alive_at()) < self.fresh && meta.expires > now
    }

    /// Takes a handle that needs neither waiting nor a validation. Returns its slot and the handle, for a [`Pooled`].
    #[inline(always)]
    pub(super) fn take_now(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        let holder = self.holder(site);
        let mut state = self.state.lock();
        if !state.has_janitor {
            drop(state);
            return self.take_without_janitor(site);
        }
        let now = holder.since;
        let (slot, handle) = state.slots.take(holder, |meta| self.is_fresh(meta, now))?;
        drop(state);
        self.probe_taken(slot, handle)
    }

    /// Takes a handle as `take_now` does, unless many callers wait: they join the queue, after another try.
    #[inline]
    pub(super) fn take_uncrowded(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        if self.is_crowded() { None } else { self.take_now(site) }
    }

    /// Takes a handle while no janitor runs. Sets the clock first, or an old handle would look fresh.
    #[cold]
    fn take_without_janitor(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        janitor::start(self);
        let holder = self.holder(site);
        let now = holder.since;
        let (slot, handle) = self.state.lock().slots.take(holder, |meta| self.is_fresh(meta, now))?;
        self.probe_taken(slot, handle)
    }

    /// Probes a handle that was taken. Retires it and returns `None` if it is dead.
    #[inline]
    pub(super) fn probe_taken(self: &Arc<Self>, slot: u32, handle: R::Handle) -> Option<(u32, R::Handle)> {
        match probe_or_dead(&*self.resource, &handle) {
            Health::Dead => {
                self.found_dead(slot, handle);
                None
            }
            _ => Some((slot, handle)),
        }
    }

    /// Takes an idle handle, or joins the queue if waiting for a lent one is the only way. One step, and all that a
    /// check-out does while many callers wait. Returns `None` if the caller needs more.
    pub(super) fn take_or_queue(self: &Arc<Self>, site: Site, waker: &Waker) -> Option<First<R>> {
        let (holder, mut waker) = (self.holder(site), Some(waker.clone()));
        let mut state = self.state.lock();
        if !self.has_queue_timer.load(Ordering::Relaxed) {
            return None;
        }
        let limit = self.config.max_waiters(state.slots.max());
        if let Some(ticket) = state.slots.queue(holder.clone(), limit, &mut waker) {
            return Some(First::Queued(ticket));
        }
        let now = holder.since;
        let (slot, handle) = state.slots.take(holder, |meta| self.is_fresh(meta, now))?;
        drop(state);
        self.probe_taken(slot, handle).map(|(slot, handle)| First::Taken(slot, handle))
    }

    /// Checks a handle out, waiting as long as necessary. `begun` is the result of earlier steps, if there were any.
    pub(super) async fn check_out(
        self: Arc<Self>,
        site: Site,
        begun: Option<Entered<R>>,
    ) -> PoolResult<R, Pooled<R>> {
        janitor::start(&self);
        let holder = self.holder(site);
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        let (mut begun, mut again, mut unsound) = (begun, false, 0);
        loop {
            let entered = begun.take().map_or_else(|| self.enter(&holder, again), Ok)?;
            let Taken { pooled, fresh } = match entered {
                Entered::Taken(taken) => taken,
                // Dropping the wait leaves the queue, and passes on a grant.
                Entered::Waiting(queued) => {
                    let mut wait = Wait::new(queued);
                    poll_fn(|cx| wait.poll(&holder, &mut deadline, cx)).await?
                }
            };
            let (pooled, validation) = match pooled.health() {
                Health::Dead => {
                    let error = Error::unavailable().at(Stage::Validating);
                    (pooled, Err(error.with_context("the handle was dead")))
                }
                // It was validated on its return, if it had to be.
                _ if fresh => (pooled, Ok(())),
                // Dropping this future retires the handle.
                _ => self.validate_taken(pooled, &mut deadline).await?,
            };
            let Err(error) = validation else { return Ok(pooled) };
            let Parts { slot, handle, .. } = pooled.into_parts();
            if is_lost(&error) {
                // The validation was cut because of the caller's runtime, which says nothing about the other handles.
                self.discard(slot, handle, Exit::Cancelled);
                return Err(error);
            }
            self.found_dead(slot, handle);
            unsound += 1;
            if unsound > self.config.max_size {
                // The last handle was new. If not even new ones are sound, the loop would only reconnect.
                return Err(self.explain(error.into_unavailable(), &holder));
            }
            // The caller keeps its turn.
            again = true;
        }
    }

    /// Takes an idle handle, fresh or not, or joins the queue. Both are one step: no handle becomes idle in between.
    fn enter(self: &Arc<Self>, holder: &Holder, again: bool) -> PoolResult<R, Entered<R>> {
        let mut fresh = false;
        let mut state = self.state.lock();
        let taken = state.slots.take(holder.clone(), |meta| {
            fresh = self.is_alive(meta, holder.since);
            true
        });
        if let Some((slot, handle)) = taken {
            drop(state);
            return Ok(Entered::Taken(Taken { pooled: Pooled::new(Arc::clone(self), slot, handle), fresh }));
        }
        let limit = self.config.max_waiters(state.slots.max());
        let joined = state.slots.join(holder.clone(), limit, again);
        let crowded = state.slots.counts().waiting > 1;
        drop(state);
        if crowded {
            queue_timer::start(self);
        }
        match joined {
            Ok(ticket) => Ok(Entered::Waiting(QueuedTicket::new(Arc::clone(self), ticket))),
            Err(JoinError::Closed) => Err(self.closed()),
            Err(JoinError::Full) => Err(self.explain(Error::exhausted(), holder)),
        }
    }

    /// Validates a handle that was taken.
    ///
    /// Cutting the validation retires the handle. Validating it again would not help: the second validation would read
    /// the answer to the first one, and so would every later use.
    async fn validate_taken(
        self: &Arc<Self>,
        pooled: Pooled<R>,
        deadline: &mut Deadline,
    ) -> PoolResult<R, (Pooled<R>, PoolResult<R, ()>)> {
        let Parts { pool, slot, handle } = pooled.into_parts();
        if self.is_better_validated_elsewhere(slot) {
            Unvalidated::idle(pool, slot, handle).validate_in_background(Caller::Drop);
            return Err(Error::runtime("validating a handle needs a tokio runtime with timers").at(Stage::Validating));
        }
        let mut unvalidated = Unvalidated::new(pool, slot, handle);
        let validation = {
            let mut validation = pin!(self.validate(unvalidated.handle(), self.config.validate_timeout));
            poll_fn(|cx| match validation.as_mut().poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
                Poll::Pending => {
                    deadline.poll_missed(Stage::Validating, cx).map(|missed| Err(self.timed_out(missed)))
                }
            })
            .await?
        };
        Ok((Pooled::new(Arc::clone(self), slot, unvalidated.into_handle()), validation))
    }

    /// Returns whether a validation could not keep its deadline here, but on the runtime on which the handle was
    /// created.
    fn is_better_validated_elsewhere(&self, slot: u32) -> bool {
        let mut state = self.state.lock();
        let home = state.slots.meta(slot).and_then(|meta| meta.account.runtime()).map(Runtime::id);
        drop(state);
        let here = Runtime::try_current().ok().map(|here| here.id());
        home.is_some() && home != here && !time::has_timers()
    }

    /// Counts an acquire timeout.
    pub(super) fn timed_out(&self, missed: Error<R::Cause>) -> Error<R::Cause> {
        Counters::add(&self.counters.timeouts, u64::from(missed.is_timeout()));
        missed
    }

    /// Retires a dead handle, and has all idle ones validated at once.
    #[cold]
    fn found_dead(self: &Arc<Self>, slot: u32, handle: R::Handle) {
        self.discard(slot, handle, Exit::Cancelled);
        self.validate_idle(|_| true);
    }
}

/// A handle that was taken, and whether probing it is enough.
pub(super) struct Taken<R: Resource> {
    pub(super) pooled: Pooled<R>,
    pub(super) fresh: bool,
}

impl<R: Resource> Taken<R> {
    /// Returns whether the handle can be lent as it is.
    #[inline]
    pub(super) fn is_sound(&self) -> bool {
        self.fresh && self.pooled.health() != Health::Dead
    }
}

/// A ticket for the queue. Dropping it leaves the queue, and passes on a grant.
pub(super) struct QueuedTicket<R: Resource> {
    /// `None` once the grant was taken.
    pool: Option<Arc<Inner<R>>>,
    ticket: Ticket,
}

const NOT_GRANTED: &str = "a ticket is used up by its grant";

/// A slot and its handle, and whether probing it is enough.
type Granted<R> = (u32, <R as Resource>::Handle, bool);

impl<R: Resource> QueuedTicket<R> {
    pub(super) fn new(pool: Arc<Inner<R>>, ticket: Ticket) -> Self {
        QueuedTicket { pool: Some(pool), ticket }
    }

    pub(super) fn pool(&self) -> &Arc<Inner<R>> {
        self.pool.as_ref().expect(NOT_GRANTED)
    }

    /// Takes the grant, if there is one.
    #[inline]
    pub(super) fn take_grant(&mut self) -> Option<Taken<R>> {
        let pool = self.pool();
        let granted = pool.granted(&mut pool.state.lock(), &self.ticket)?;
        Some(self.take(granted))
    }

    /// Uses up the ticket.
    #[inline]
    fn take(&mut self, (slot, handle, fresh): Granted<R>) -> Taken<R> {
        let pool = self.pool.take().expect(NOT_GRANTED);
        Taken { pooled: Pooled::new(pool, slot, handle), fresh }
    }
}

impl<R: Resource> Drop for QueuedTicket<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.leave(&self.ticket);
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Removes a waiter from the queue, and passes on a grant that it has not taken.
    #[cold]
    fn leave(self: &Arc<Self>, ticket: &Ticket) {
        let mut state = self.state.lock();
        let (grant, waker) = state.slots.waiters().leave(ticket);
        drop(state);
        catch::drop_quietly(waker);
        if let Some((slot, handle)) = grant {
            self.put_back_unused(slot, handle);
        }
    }

    /// Takes the grant of this ticket.
    #[inline]
    fn granted(&self, state: &mut PoolState<R>, ticket: &Ticket) -> Option<Granted<R>> {
        let (slot, handle) = state.slots.waiters().take(ticket)?;
        let now = self.clock.now();
        let fresh = state.slots.meta(slot).is_some_and(|meta| self.is_alive(meta, now));
        if let Some(holder) = state.slots.holder(slot) {
            // The use begins when the wait ends.
            holder.since = now;
        }
        Some((slot, handle, fresh))
    }
}

/// The wait in the queue.
pub(super) struct Wait<R: Resource> {
    queued: QueuedTicket<R>,
    /// The creation that it began, if any, whose outcome it then awaits even if the breaker is open.
    created: Option<LostError<R>>,
    /// Whether it has returned pending. If so, the error of the breaker is the result of its wait.
    waited: bool,
}

impl<R: Resource> Wait<R> {
    pub(super) fn new(queued: QueuedTicket<R>) -> Self {
        Wait { queued, created: None, waited: false }
    }

    pub(super) fn poll(
        &mut self,
        holder: &Holder,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<PoolResult<R, Taken<R>>> {
        let mut found = self.check(cx.waker());
        if let QueueCheck::Create(slot, attempt) = found {
            self.created = Some(create::begin(self.queued.pool(), slot, attempt, holder.origin.taken_at, cx));
            found = self.check(cx.waker());
        }
        self.waited = true;
        match found {
            QueueCheck::Granted(taken) => return Poll::Ready(Ok(taken)),
            QueueCheck::Lost(error) => return Poll::Ready(Err(error)),
            QueueCheck::Refused(error) => return Poll::Ready(Err(self.queued.pool().explain(error, holder))),
            QueueCheck::Create(slot, attempt) => {
                // At most one creation per poll: on a runtime that is shutting down, each creation fails at once. The
                // deadline below reports that, if the runtime has timers.
                self.queued.pool().create_lost(slot, attempt);
                cx.waker().wake_by_ref();
            }
            QueueCheck::Wait => {}
        }
        let missed = ready!(deadline.poll_missed(Stage::Waiting, cx));
        let pool = self.queued.pool();
        Poll::Ready(Err(pool.explain(pool.timed_out(missed), holder)))
    }

    /// Checks for a grant. If there is none, stores the waker, so that no later change is missed.
    fn check(&mut self, waker: &Waker) -> QueueCheck<R> {
        let spare = waker.clone();
        let pool = self.queued.pool();
        let mut state = pool.state.lock();
        if let Some(granted) = pool.granted(&mut state, &self.queued.ticket) {
            drop(state);
            return QueueCheck::Granted(self.queued.take(granted));
        }
        if state.slots.is_closed() {
            return QueueCheck::Refused(pool.closed());
        }
        if let Some(error) = self.created.as_ref().and_then(|lost| lost.lock().take()) {
            return QueueCheck::Lost(error);
        }
        match state.begin(&pool.config, pool.config.min_idle) {
            Ok(Some((slot, attempt))) => return QueueCheck::Create(slot, attempt),
            Ok(None) => {}
            Err(refusal) => {
                let probing = refusal.next_probe.is_none();
                let counts = state.slots.counts();
                let sources = counts.lent + counts.ending + counts.creating.saturating_sub(usize::from(probing));
                // A lent handle may be returned, or its own creation may still succeed.
                if sources == 0 && !(probing && self.created.is_some()) {
                    drop(state);
                    let cause = refusal.cause;
                    let error = if self.waited || self.created.is_some() {
                        cause.into_unavailable()
                    } else {
                        cause.into_refusal()
                    };
                    return QueueCheck::Refused(error);
                }
            }
        }
        let old = state.slots.waiters().register(&self.queued.ticket, spare);
        drop(state);
        drop(old);
        QueueCheck::Wait
    }
}

/// What a waiter finds.
enum QueueCheck<R: Resource> {
    Granted(Taken<R>),
    /// Its creation was lost because of its own runtime.
    Lost(Error<R::Cause>),
    Refused(Error<R::Cause>),
    /// A slot for a creation.
    Create(u32, Attempt),
    Wait,
}
