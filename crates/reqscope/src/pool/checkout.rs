//! The check-out: an idle handle at once, or a wait in the queue; and the validation of a handle that is not proved.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::clock::Moment;
use super::create::{self, LostError};
use super::inner::{Counters, Doubt, GRACE, Holder, Inner, Parts, PoolState};
use super::janitor;
use super::pooled::Pooled;
use super::slots::JoinError;
use super::validate::Unproved;
use super::waiters::Ticket;
use crate::cell::Site;
use crate::error::{Error, Stage};
use crate::lease::acquire::is_lost;
use crate::lease::probe_or_dead;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::runtime::{Runtime, coop};
use crate::rt::time::{self, Deadline};

/// What a check-out gets: a handle for its user, or one that must be validated first.
type Lent<R> = Result<Pooled<R>, Unproved<R>>;

pub(super) type PoolResult<R, T> = Result<T, Error<<R as Resource>::Cause>>;

/// Checks a handle out.
#[inline]
pub(super) fn get<R: Resource>(
    pool: Arc<Inner<R>>,
    site: Site,
    timeout: Duration,
) -> impl Future<Output = PoolResult<R, Pooled<R>>> + Send + use<R> {
    Get { wanted: Some((pool, site, timeout)), go_on: CheckOut::run, rest: None }
}

pin_project! {
    /// A check-out: an idle handle in the first poll, or the rest of it. By hand, because an `async fn` moves everything
    /// into its frame before the first step, which is the only one of most check-outs.
    struct Get<R: Resource, B, F> {
        wanted: Option<(Arc<Inner<R>>, Site, Duration)>,
        go_on: B,
        #[pin]
        rest: Option<F>,
    }
}

impl<R, B, F> Future for Get<R, B, F>
where
    R: Resource,
    B: Fn(CheckOut<R>, Option<Unproved<R>>) -> F,
    F: Future<Output = PoolResult<R, Pooled<R>>>,
{
    type Output = PoolResult<R, Pooled<R>>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.wanted.is_some() {
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        if let Some((pool, site, timeout)) = this.wanted.take() {
            let began = time::now();
            let found = match pool.take(site, began, true) {
                Some((slot, handle, None)) => return Poll::Ready(Ok(Pooled::new(Parts { pool, slot, handle }))),
                Some((slot, handle, Some(doubt))) => {
                    Some(Unproved::taken(Parts { pool: Arc::clone(&pool), slot, handle }, doubt))
                }
                None => None,
            };
            let (limits, ticket, taken, created) = (Limits::Asked(site, began, timeout), None, None, None);
            let check_out = CheckOut { pool, limits, ticket, taken, created, waited: false };
            this.rest.set(Some((this.go_on)(check_out, found)));
        }
        poll_some(this.rest, cx)
    }
}

/// Polls the rest of a check-out. Not inlined, so that the first step is.
#[inline(never)]
fn poll_some<F: Future>(running: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    running.as_pin_mut().expect("`Pool::get` polled after completion").poll(cx)
}

impl<R: Resource> Inner<R> {
    /// Takes an idle handle. Returns it with its slot, and the doubt about it, if there is one; without `any`, only if
    /// probing it seems to be enough.
    #[inline(always)]
    fn take(self: &Arc<Self>, site: Site, now: Instant, any: bool) -> Option<(u32, R::Handle, Option<Doubt>)> {
        let (origin, details) = self.origin(site);
        let mut state = self.state.lock();
        let at = state.reading.take(&self.clock, now);
        if state.janitor_overdue < at {
            drop(state);
            janitor::start(self, at);
            state = self.state.lock();
        }
        let holder = Holder { origin, details, since: at };
        let PoolState { slots, homes, .. } = &mut *state;
        let (slot, handle, doubt) = slots.take(holder, |meta| match meta.is_proved(self.fresh, at) {
            true => Some(None),
            false => any.then(|| Some(meta.doubt(homes, at))),
        })?;
        drop(state);
        let doubt = self.probe(slot, &handle, doubt, at);
        Some((slot, handle, doubt))
    }

    /// Probes a handle that was taken, unless there is a doubt about it already. Returns the doubt.
    #[inline(always)]
    fn probe(&self, slot: u32, handle: &R::Handle, doubt: Option<Doubt>, at: Moment) -> Option<Doubt> {
        if doubt.is_none() && matches!(probe_or_dead(&*self.resource, handle), Health::Dead | Health::Dirty) {
            return self.state.lock().doubt(slot, at);
        }
        doubt
    }

    /// Takes a handle that needs neither waiting nor a validation.
    #[inline(always)]
    pub(super) fn take_proved(self: &Arc<Self>, site: Site) -> Option<Pooled<R>> {
        let (slot, handle, doubt) = self.take(site, time::now(), false)?;
        let parts = Parts { pool: Arc::clone(self), slot, handle };
        match doubt {
            None => Some(Pooled::new(parts)),
            Some(doubt) => {
                Unproved::taken(parts, doubt).validate_in_background();
                None
            }
        }
    }

    /// Takes a handle as [`take_proved`](Inner::take_proved) does. If the next one is not proved, begins its validation,
    /// so that a later call can take it.
    pub(super) fn try_take(self: &Arc<Self>, site: Site) -> Option<Pooled<R>> {
        let taken = self.take_proved(site);
        // It goes to the end of the idle ones, from which the next call takes it.
        if taken.is_none() && Runtime::try_current().is_ok() && self.state.lock().slots.counts().validating == 0 {
            self.validate_idle(1, |_| true);
        }
        taken
    }
}

/// A check-out that takes more than one step. Dropping it leaves the queue, and passes on a grant.
struct CheckOut<R: Resource> {
    pool: Arc<Inner<R>>,
    limits: Limits,
    /// Its place in the queue.
    ticket: Option<Ticket>,
    /// A handle that it has taken and not looked at.
    taken: Option<(u32, R::Handle)>,
    /// The creation that it began, if any, whose outcome it then awaits even if the breaker is open.
    created: Option<LostError<R>>,
    /// Whether it has waited. If so, the error of the breaker is the result of its wait.
    waited: bool,
}

/// The holder and the deadline of a check-out.
enum Limits {
    /// What they are made of, until it has to wait.
    Asked(Site, Instant, Duration),
    Known(Holder, Deadline),
}

impl<R: Resource> CheckOut<R> {
    /// Validates the handle that was found, or waits for another one.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` moves its arguments once more")]
    #[inline]
    fn run(mut self, mut found: Option<Unproved<R>>) -> impl Future<Output = PoolResult<R, Pooled<R>>> + Send {
        async move {
            loop {
                if found.is_none() {
                    match poll_fn(|cx| self.poll_lent(cx)).await? {
                        Ok(pooled) => return Ok(pooled),
                        Err(unproved) => found = Some(unproved),
                    }
                }
                // In place: a local would be a second one in the frame.
                let Some(unproved) = &mut found else { continue };
                if unproved.needs_its_runtime() {
                    found.take().into_iter().for_each(Unproved::validate_in_background);
                    let missing = "validating a handle needs a tokio runtime with timers";
                    return Err(Error::runtime(missing).at(Stage::Validating));
                }
                // Dropping this future meanwhile retires the handle. Validating it again would not help: the second
                // validation would read the answer to the first one, and so would every later use.
                let outcome = {
                    let mut validation = pin!(unproved.validate());
                    poll_fn(|cx| match validation.as_mut().poll(cx) {
                        Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
                        Poll::Pending => self.poll_missed(cx).map(Err),
                    })
                    .await?
                };
                let Some(unproved) = found.take() else { continue };
                match outcome {
                    Ok(()) => match unproved.lend(|| self.limits().0.clone()) {
                        Some(parts) => return Ok(Pooled::new(parts)),
                        None => self.keep_turn(),
                    },
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
    }

    #[cold]
    fn limits(&mut self) -> (&Holder, &mut Deadline) {
        if let Limits::Asked(site, began, timeout) = self.limits {
            let holder = self.pool.holder(site, self.pool.clock.at(began));
            let deadline = Deadline::from(began, timeout).or_of_request(holder.details.deadline());
            self.limits = Limits::Known(holder, deadline);
        }
        let Limits::Known(holder, deadline) = &mut self.limits else { unreachable!("it is known now") };
        (holder, deadline)
    }

    /// Waits until the deadline, during a validation.
    #[cold]
    fn poll_missed(&mut self, cx: &mut Context<'_>) -> Poll<Error<R::Cause>> {
        let missed = ready!(self.limits().1.poll_missed(Stage::Validating, cx));
        Poll::Ready(self.pool.timed_out(missed))
    }

    /// Takes the next idle handle, or goes back to the head of the queue.
    #[cold]
    fn keep_turn(&mut self) {
        let holder = self.limits().0.clone();
        let mut state = self.pool.state.lock();
        self.taken = state.slots.take(holder.clone(), |_| Some(())).map(|(slot, handle, ())| (slot, handle));
        if self.taken.is_none() {
            self.ticket = Some(state.slots.join(holder, Waker::noop().clone(), true));
        }
    }

    /// Takes an idle handle or a grant, or waits for one.
    fn poll_lent(&mut self, cx: &mut Context<'_>) -> Poll<PoolResult<R, Lent<R>>> {
        let (holder, mut begun) = (self.limits().0.clone(), false);
        loop {
            // User code, like the drop of a waker: not under the lock.
            let (mut spare, mut again) = (Some(cx.waker().clone()), false);
            let now = time::now();
            let pool = Arc::clone(&self.pool);
            let mut state = pool.state.lock();
            let at = state.reading.take(&pool.clock, now);
            state.give_up_overdue(at);
            if state.slots.is_closed() {
                return Poll::Ready(Err(pool.closed()));
            }
            let lent = match (self.taken.take(), &self.ticket) {
                (Some(taken), _) => Some(taken),
                (None, Some(ticket)) => state.slots.waiters().take(ticket),
                // Taking and joining are one step: no handle becomes idle in between.
                (None, None) => {
                    let lent =
                        state.slots.take(holder.clone(), |_| Some(())).map(|(slot, handle, ())| (slot, handle));
                    if lent.is_none() {
                        if let Err(JoinError::Full) = state.slots.may_join(pool.config.max_waiters) {
                            drop(state);
                            return Poll::Ready(Err(pool.explain(Error::exhausted(), &holder)));
                        }
                        self.ticket = spare.take().map(|waker| state.slots.join(holder.clone(), waker, false));
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
                let is_proved = state.slots.meta(slot).is_some_and(|meta| meta.is_proved(pool.fresh, at));
                let doubt = if is_proved { None } else { state.doubt(slot, at) };
                drop(state);
                let doubt = pool.probe(slot, &handle, doubt, at);
                let parts = Parts { pool, slot, handle };
                return Poll::Ready(Ok(match doubt {
                    None => Ok(Pooled::new(parts)),
                    Some(doubt) => Err(Unproved::taken(parts, doubt)),
                }));
            }
            if let Some(error) = self.created.as_ref().and_then(|lost| lost.lock().take()) {
                return Poll::Ready(Err(error));
            }
            match state.begin(&pool, pool.config.min_idle) {
                Ok(Some(creation)) if !begun => {
                    drop(state);
                    begun = true;
                    self.created = Some(create::begin(&pool, creation, holder.origin.taken_at, cx));
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
                        return Poll::Ready(Err(pool.explain(error, &holder)));
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
            if let Some(missed) = ready!(self.limits().1.poll_missed_or(look, Stage::Waiting, cx)) {
                return Poll::Ready(Err(pool.explain(pool.timed_out(missed), &holder)));
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
