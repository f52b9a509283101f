//! The check-out: an idle handle at once, or a wait in the queue; and the validation of a handle that is not proved.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::clock::Moment;
use super::create::{self, LostError};
use super::inner::{Counters, GRACE, HandleMeta, Holder, Inner};
use super::janitor;
use super::pooled::Pooled;
use super::slots::JoinError;
use super::validate::{Since, Unproved};
use super::waiters::Ticket;
use crate::cell::Site;
use crate::error::{Error, Stage};
use crate::lease::acquire::is_lost;
use crate::lease::probe_or_dead;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::runtime::{Runtime, coop};
use crate::rt::time::{self, Deadline};

pub(super) type PoolResult<R, T> = Result<T, Error<<R as Resource>::Cause>>;

/// Checks a handle out.
#[inline]
pub(super) fn get<R: Resource>(
    pool: Arc<Inner<R>>,
    site: Site,
    timeout: Duration,
) -> impl Future<Output = PoolResult<R, Pooled<R>>> + Send + use<R> {
    let begin = |(pool, site, timeout)| CheckOut::new(pool, site, timeout).run();
    Get { first: Some((pool, site, timeout)), begin, rest: None }
}

/// What a check-out is of.
type Wanted<R> = (Arc<Inner<R>>, Site, Duration);

pin_project! {
    /// A check-out: an idle handle in the first poll, or the rest of it. By hand, because an `async fn` moves everything
    /// into its frame before the first step, which is the only one of most check-outs.
    struct Get<R: Resource, B, F> {
        first: Option<Wanted<R>>,
        begin: B,
        #[pin]
        rest: Option<F>,
    }
}

impl<R, B, F> Future for Get<R, B, F>
where
    R: Resource,
    B: Fn(Wanted<R>) -> F,
    F: Future<Output = PoolResult<R, Pooled<R>>>,
{
    type Output = PoolResult<R, Pooled<R>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.first.is_some() {
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        if let Some(wanted) = this.first.take() {
            match wanted.0.take(wanted.1) {
                Some((slot, handle)) => return Poll::Ready(Ok(Pooled::new(wanted.0, slot, handle))),
                None => this.rest.set(Some((this.begin)(wanted))),
            }
        }
        this.rest.as_pin_mut().expect("`Pool::get` polled after completion").poll(cx)
    }
}

impl<R: Resource> Inner<R> {
    /// Takes a handle that needs neither waiting nor a validation. Returns its slot and the handle, for a [`Pooled`].
    #[inline(always)]
    pub(super) fn take(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        let now = self.clock.now();
        let holder = self.holder(site, now);
        let mut state = self.state.lock();
        if state.janitor_overdue < now {
            drop(state);
            janitor::start(self, now);
            state = self.state.lock();
        }
        state.latest = state.latest.max(now);
        let (slot, handle) = state.slots.take(holder, |meta| self.is_proved(meta, now))?;
        drop(state);
        match probe_or_dead(&*self.resource, &handle) {
            Health::Dead | Health::Dirty => self.take_unsound(slot, handle),
            Health::Clean | Health::Ready | Health::Unknown => Some((slot, handle)),
        }
    }

    /// Returns whether probing the handle is enough.
    #[inline]
    fn is_proved(&self, meta: &HandleMeta<R>, now: Moment) -> bool {
        meta.proved.is_within(self.fresh, now) && meta.expires > now
    }

    /// Ends the check-out of an idle handle whose probe is bad.
    #[cold]
    fn take_unsound(self: &Arc<Self>, slot: u32, handle: R::Handle) -> Option<(u32, R::Handle)> {
        let unproved = Unproved::new(Arc::clone(self), slot, handle, Since::Idle, time::now());
        unproved.fail(&Error::unavailable());
        self.validate_idle(usize::MAX, |_| true);
        None
    }

    /// Takes a handle as [`take`](Inner::take) does. If the next one is not proved, begins its validation, so that a
    /// later call can take it.
    pub(super) fn try_take(self: &Arc<Self>, site: Site) -> Option<(u32, R::Handle)> {
        let taken = self.take(site);
        if taken.is_none() {
            self.validate_next();
        }
        taken
    }

    #[cold]
    fn validate_next(self: &Arc<Self>) {
        // It goes to the end of the idle ones, from which the next call takes it.
        if Runtime::try_current().is_ok() && self.state.lock().slots.counts().validating == 0 {
            self.validate_idle(1, |_| true);
        }
    }
}

/// A check-out that takes more than one step. Dropping it leaves the queue, and passes on a grant.
struct CheckOut<R: Resource> {
    pool: Arc<Inner<R>>,
    holder: Holder,
    deadline: Deadline,
    /// Its place in the queue.
    ticket: Option<Ticket>,
    /// A handle that it has taken and not looked at.
    taken: Option<(u32, R::Handle)>,
    /// The creation that it began, if any, whose outcome it then awaits even if the breaker is open.
    created: Option<LostError<R>>,
    /// Whether it has waited. If so, the error of the breaker is the result of its wait.
    waited: bool,
}

/// A handle that is lent to a check-out.
struct Lent<R: Resource> {
    slot: u32,
    handle: R::Handle,
    /// `None` if probing it is enough.
    unproved: Option<Since>,
}

impl<R: Resource> CheckOut<R> {
    fn new(pool: Arc<Inner<R>>, site: Site, timeout: Duration) -> Self {
        let now = time::now();
        let holder = pool.holder(site, pool.clock.at(now));
        let deadline = Deadline::from(now, timeout).or_of_request(holder.details.deadline());
        CheckOut { pool, holder, deadline, ticket: None, taken: None, created: None, waited: false }
    }

    async fn run(mut self) -> PoolResult<R, Pooled<R>> {
        loop {
            let Lent { slot, handle, unproved } = poll_fn(|cx| self.poll_lent(cx)).await?;
            let since = match (unproved, probe_or_dead(&*self.pool.resource, &handle)) {
                (None, Health::Clean | Health::Ready | Health::Unknown) => {
                    return Ok(Pooled::new(Arc::clone(&self.pool), slot, handle));
                }
                (since, _) => since.unwrap_or(Since::Idle),
            };
            // Dropping this future meanwhile retires the handle. Validating it again would not help: the second
            // validation would read the answer to the first one, and so would every later use.
            let mut unproved = Unproved::new(Arc::clone(&self.pool), slot, handle, since, time::now());
            if unproved.needs_its_runtime() {
                unproved.validate_in_background();
                let missing = "validating a handle needs a tokio runtime with timers";
                return Err(Error::runtime(missing).at(Stage::Validating));
            }
            let outcome = {
                let mut validation = pin!(unproved.validate());
                poll_fn(|cx| match validation.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
                    Poll::Pending => {
                        let missed = self.deadline.poll_missed(Stage::Validating, cx);
                        missed.map(|missed| Err(self.pool.timed_out(missed)))
                    }
                })
                .await?
            };
            match outcome {
                Ok(()) => {
                    if let Some((slot, handle)) = unproved.lend(self.holder.clone()) {
                        return Ok(Pooled::new(Arc::clone(&self.pool), slot, handle));
                    }
                    self.keep_turn();
                }
                // It was cut because of the caller's runtime.
                Err(error) if is_lost(&error) => return Err(error),
                Err(error) => {
                    if unproved.is_sign(&error) {
                        self.pool.validate_idle(usize::MAX, |_| true);
                    }
                    // Before the slot is freed, whose next handle would go to another caller.
                    self.keep_turn();
                    unproved.fail(&error);
                }
            }
        }
    }

    /// Takes the next idle handle, or goes back to the head of the queue.
    #[cold]
    fn keep_turn(&mut self) {
        let mut state = self.pool.state.lock();
        self.taken = state.slots.take(self.holder.clone(), |_| true);
        if self.taken.is_none() {
            self.ticket = Some(state.slots.join(self.holder.clone(), Waker::noop().clone(), true));
        }
    }

    /// Takes an idle handle or a grant, or waits for one.
    fn poll_lent(&mut self, cx: &mut Context<'_>) -> Poll<PoolResult<R, Lent<R>>> {
        let mut begun = false;
        loop {
            // User code, like the drop of a waker: not under the lock.
            let (mut spare, mut again) = (Some(cx.waker().clone()), false);
            let now = time::now();
            let at = self.pool.clock.at(now);
            let pool = Arc::clone(&self.pool);
            let mut state = pool.state.lock();
            state.latest = state.latest.max(at);
            state.give_up_overdue(at);
            if state.slots.is_closed() {
                return Poll::Ready(Err(pool.closed()));
            }
            let lent = match (self.taken.take(), &self.ticket) {
                (Some(taken), _) => Some(taken),
                (None, Some(ticket)) => state.slots.waiters().take(ticket),
                // Taking and joining are one step: no handle becomes idle in between.
                (None, None) => {
                    let lent = state.slots.take(self.holder.clone(), |_| true);
                    if lent.is_none() {
                        if let Err(JoinError::Full) = state.slots.may_join(pool.config.max_waiters) {
                            drop(state);
                            return Poll::Ready(Err(pool.explain(Error::exhausted(), &self.holder)));
                        }
                        self.ticket = spare.take().map(|waker| state.slots.join(self.holder.clone(), waker, false));
                    }
                    lent
                }
            };
            if let Some((slot, handle)) = lent {
                self.ticket = None;
                if let Some(holder) = state.slots.holder(slot) {
                    // The use begins when the wait ends.
                    holder.since = at;
                }
                let unproved = state.slots.meta(slot).and_then(|meta| match pool.is_proved(meta, at) {
                    true => None,
                    false if meta.proved == Moment::ZERO && !meta.suspect => Some(Since::Returned),
                    false => Some(Since::Idle),
                });
                drop(state);
                return Poll::Ready(Ok(Lent { slot, handle, unproved }));
            }
            if let Some(error) = self.created.as_ref().and_then(|lost| lost.lock().take()) {
                return Poll::Ready(Err(error));
            }
            match state.begin(&pool, pool.config.min_idle) {
                Ok(Some(creation)) if !begun => {
                    drop(state);
                    begun = true;
                    self.created = Some(create::begin(&pool, creation, self.holder.origin.taken_at, cx));
                    continue;
                }
                Ok(Some(creation)) => {
                    // At most one creation per poll: on a runtime that is shutting down, each creation fails at once.
                    // The deadline below reports that, if the runtime has timers.
                    drop(state.creation_failed(&pool, creation, None));
                    state.slots.free(creation.0);
                    again = true;
                }
                Ok(None) => {}
                Err(cause) => {
                    // A lent handle may be returned, or its own creation may still succeed.
                    let awaits_probe = state.breaker.is_probing() && self.created.is_some();
                    if !(awaits_probe || state.has_sources()) {
                        drop(state);
                        let waited = self.waited || self.created.is_some();
                        let error = if waited { cause.into_unavailable() } else { cause.into_refusal() };
                        return Poll::Ready(Err(pool.explain(error, &self.holder)));
                    }
                }
            }
            let old = match (&self.ticket, spare) {
                (Some(ticket), Some(waker)) => state.slots.waiters().register(ticket, waker),
                _ => None,
            };
            let overdue = state.slots.next_overdue();
            drop(state);
            drop(old);
            if again {
                cx.waker().wake_by_ref();
            }
            // Work that begins later is overdue later than this, at which the waiter looks again.
            let look = overdue.min(at.after(pool.config.create_timeout.max(GRACE)));
            // In a model, no time passes.
            let look = pool.clock.instant(look).filter(|look| *look > now);
            self.waited = true;
            if let Some(missed) = ready!(self.deadline.poll_missed_or(look, Stage::Waiting, cx)) {
                return Poll::Ready(Err(pool.explain(pool.timed_out(missed), &self.holder)));
            }
        }
    }
}

impl<R: Resource> Drop for CheckOut<R> {
    fn drop(&mut self) {
        if let Some((slot, handle)) = self.taken.take() {
            self.pool.put_untaken(slot, handle);
        }
        let Some(ticket) = self.ticket.take() else { return };
        let mut state = self.pool.state.lock();
        let (grant, waker) = state.slots.waiters().leave(&ticket);
        drop(state);
        catch::drop_quietly(waker);
        if let Some((slot, handle)) = grant {
            self.pool.put_untaken(slot, handle);
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Counts an acquire timeout.
    fn timed_out(&self, missed: Error<R::Cause>) -> Error<R::Cause> {
        Counters::add(&self.counters.timeouts, u64::from(missed.is_timeout()));
        missed
    }
}
