//! The check-out: an idle handle at once, or a wait in the queue; and the validation of a handle that is not proved.

use std::future::{Future, poll_fn};
use std::mem;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::create::{self, LostError};
use super::inner::{Doubt, GRACE, HandleMeta, Inner, Parts};
use super::janitor;
use super::pooled::Pooled;
use super::validate::Unproved;
use super::waiters::Ticket;
use crate::cell::Site;
use crate::error::{Error, Stage};
use crate::lease::acquire::is_lost;
use crate::lease::context::Holder;
use crate::lease::probe_or_dead;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::clock::Moment;
use crate::rt::shortcut::{FirstStep, Shortcut};
use crate::rt::sync::{Ordering, lock_contended};
use crate::rt::time::{self, Deadline};

/// What a check-out gets: a handle for its user, or one that must be validated first because of a doubt.
type Lent<R> = (Parts<R>, Option<Doubt>);

pub(super) type PoolResult<R, T> = Result<T, Error<<R as Resource>::Cause>>;

/// A check-out. Its first step takes an idle handle, if there is one.
struct Wanted<R: Resource>(Arc<Inner<R>>, Site, Duration);

impl<R: Resource> FirstStep for Wanted<R> {
    type Output = PoolResult<R, Pooled<R>>;
    type Left = (CheckOut<R>, Option<Unproved<R>>);

    #[inline(always)]
    fn take(self) -> ControlFlow<Self::Output, Self::Left> {
        let (Wanted(pool, site, timeout), began) = (self, time::now());
        let found = if pool.crowded.load(Ordering::Relaxed) { Err(pool) } else { pool.take(site, began, true) };
        let (pool, found) = match found {
            Ok((parts, None)) => return ControlFlow::Break(Ok(Pooled::new(parts))),
            Ok((parts, Some(doubt))) => (Arc::clone(&parts.pool), Some(Unproved::new(parts, doubt))),
            Err(pool) => (pool, None),
        };
        ControlFlow::Continue((CheckOut::new(pool, site, began, timeout), found))
    }
}

/// Checks a handle out.
#[inline]
pub(super) fn get<R: Resource>(
    pool: Arc<Inner<R>>,
    site: Site,
    timeout: Duration,
) -> impl Future<Output = PoolResult<R, Pooled<R>>> + Send + use<R> {
    Shortcut::new(Wanted(pool, site, timeout), |(check_out, found)| CheckOut::run(check_out, found))
}

impl<R: Resource> Inner<R> {
    /// Takes an idle handle; without `any`, only if probing it seems to be enough. Returns the pool if there is none.
    #[inline(always)]
    fn take(self: Arc<Self>, site: Site, now: Instant, any: bool) -> Result<Lent<R>, Arc<Self>> {
        let holder = self.holder(site);
        let mut state = self.state.lock();
        let at = state.clock.read(now);
        if state.janitor_overdue < at {
            drop(state);
            janitor::start(&self);
            state = self.state.lock();
        }
        let look =
            |meta: &mut HandleMeta<R>| (any || meta.is_proved(self.fresh, at)).then(|| meta.take(self.fresh, at));
        let taken = state.slots.take(holder, look);
        let Some((slot, handle, doubt)) = taken else {
            drop(state);
            return Err(self);
        };
        drop(state);
        Ok(self.lent(slot, handle, doubt, at))
    }

    /// Probes a handle that was taken, unless there is a doubt about it already.
    #[inline(always)]
    fn lent(self: Arc<Self>, slot: u32, handle: R::Handle, mut doubt: Option<Doubt>, at: Moment) -> Lent<R> {
        if doubt.is_none() && matches!(probe_or_dead(&*self.resource, &handle), Health::Dead | Health::Dirty) {
            doubt = Some(self.state.lock().meta(slot).doubt(at));
        }
        (Parts { pool: self, slot, handle }, doubt)
    }

    /// Takes a handle that needs neither waiting nor a validation.
    #[inline(always)]
    pub(super) fn take_proved(self: &Arc<Self>, site: Site) -> Option<Pooled<R>> {
        match Arc::clone(self).take(site, time::now(), false).ok()? {
            (parts, None) => return Some(Pooled::new(parts)),
            (parts, Some(doubt)) => Unproved::new(parts, doubt).validate_in_background(),
        }
        None
    }

    /// Counts an acquire timeout.
    fn timed_out(&self, missed: Error<R::Cause>) -> Error<R::Cause> {
        self.state.lock().so_far.timeouts += u64::from(missed.is_timeout());
        missed
    }
}

/// A check-out that takes more than one step. Dropping it leaves the queue, and passes on a grant.
struct CheckOut<R: Resource> {
    /// `None` once it has a handle, which takes it.
    pool: Option<Arc<Inner<R>>>,
    holder: Holder,
    deadline: Deadline,
    /// Its place in the queue.
    ticket: Option<Ticket>,
    /// The creation that it began, if any, whose outcome it then awaits even if the breaker is open.
    created: Option<LostError<R>>,
    /// Whether it has waited or begun a creation. If so, the error of the breaker is the result of its wait.
    waited: bool,
}

const NO_HANDLE: &str = "only a handle takes the pool";

impl<R: Resource> CheckOut<R> {
    fn new(pool: Arc<Inner<R>>, site: Site, began: Instant, timeout: Duration) -> Self {
        let holder = pool.holder(site);
        let deadline = Deadline::from(began, timeout).or_of_request(holder.details.deadline());
        CheckOut { pool: Some(pool), holder, deadline, ticket: None, created: None, waited: false }
    }

    /// Validates the handle that was found, or waits for another one.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` moves its arguments once more, within its frame")]
    fn run(mut self, mut found: Option<Unproved<R>>) -> impl Future<Output = PoolResult<R, Pooled<R>>> + Send {
        async move {
            loop {
                // In place: a local would be a second one in the frame.
                let unproved = match &mut found {
                    Some(unproved) => unproved,
                    None => match poll_fn(|cx| self.poll_lent(cx)).await? {
                        (parts, None) => return Ok(Pooled::new(parts)),
                        (parts, Some(doubt)) => {
                            self.pool = Some(Arc::clone(&parts.pool));
                            found.insert(Unproved::new(parts, doubt))
                        }
                    },
                };
                // Dropping this future meanwhile retires the handle. Validating it again would not help: the second
                // validation would read the answer to the first one, and so would every later use.
                let outcome = {
                    let mut validation = pin!(unproved.validate());
                    poll_fn(|cx| match validation.as_mut().poll(cx) {
                        Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
                        Poll::Pending => {
                            let missed = self.deadline.poll_missed(Stage::Validating, cx);
                            missed.map(|missed| Err(self.pool.as_ref().expect(NO_HANDLE).timed_out(missed)))
                        }
                    })
                    .await?
                };
                let Some(unproved) = found.take() else { continue };
                match outcome {
                    Ok(()) => match unproved.lend(|| self.holder.clone()) {
                        Some(parts) => return Ok(Pooled::new(parts)),
                        None => self.keep_turn(),
                    },
                    // It was cut because of the caller's runtime.
                    Err(error) if is_lost(&error) => return Err(error),
                    Err(_) => {
                        unproved.doubt_others();
                        // Before the slot is freed, whose next handle would go to another caller.
                        self.keep_turn();
                        unproved.fail();
                    }
                }
            }
        }
    }

    /// Takes the next idle handle, or goes back to the head of the queue.
    fn keep_turn(&mut self) {
        let mut state = self.pool.as_ref().expect(NO_HANDLE).state.lock();
        self.ticket = Some(state.slots.join(self.holder.clone(), true));
    }

    /// Waits for a grant, which is at once if a handle is idle.
    fn poll_lent(&mut self, cx: &mut Context<'_>) -> Poll<PoolResult<R, Lent<R>>> {
        let CheckOut { pool: its_pool, holder, deadline, ticket: place, created, waited } = self;
        let pool = its_pool.as_ref().expect(NO_HANDLE);
        let mut begun = false;
        // User code, like the drop of a waker: not under the lock. Most waiters are polled again only for their grant.
        let mut waker = place.is_none().then(|| cx.waker().clone());
        loop {
            let (now, mut again) = (time::now(), false);
            let mut state = lock_contended(&pool.state);
            let at = state.clock.read(now);
            if state.slots.is_closed() {
                return Poll::Ready(Err(pool.closed()));
            }
            if place.is_none() && state.slots.is_full(pool.config.max_waiters) {
                drop(state);
                return Poll::Ready(Err(pool.explain(Error::exhausted(), holder)));
            }
            let ticket = place.get_or_insert_with(|| state.slots.join(holder.clone(), false));
            if let Some((slot, handle)) = state.slots.waiters.take(ticket) {
                *place = None;
                if !*waited {
                    pool.crowded.store(false, Ordering::Relaxed);
                }
                let doubt = state.meta(slot).take(pool.fresh, at);
                drop(state);
                return Poll::Ready(Ok(its_pool.take().expect(NO_HANDLE).lent(slot, handle, doubt, at)));
            }
            if waker.is_none() {
                drop(state);
                waker = Some(cx.waker().clone());
                continue;
            }
            let first = !mem::replace(waited, true);
            state.waits += u64::from(first);
            state.slots.give_up(at, GRACE);
            if let Some(error) = created.as_ref().and_then(|lost| lost.lock().take()) {
                return Poll::Ready(Err(error));
            }
            match state.begin(pool, pool.config.min_idle) {
                Ok(Some(creation)) if !begun => {
                    drop(state);
                    begun = true;
                    *created = Some(create::begin(pool, creation, holder.origin.taken_at, cx));
                    continue;
                }
                Ok(Some(creation)) => {
                    // At most one creation per poll: on a runtime that is shutting down, each creation fails at once.
                    // The deadline below reports that, if the runtime has timers.
                    state.breaker.abandoned(creation.attempt);
                    state.slots.free(creation.slot);
                    again = true;
                }
                Ok(None) => {}
                Err(cause) => {
                    // A lent handle may be returned, or its own creation may still succeed.
                    let awaits_probe = state.breaker.is_probing() && created.is_some();
                    if !(awaits_probe || state.has_sources()) {
                        drop(state);
                        let error = if first { cause.into_refusal() } else { cause.into_unavailable() };
                        return Poll::Ready(Err(pool.explain(error, holder)));
                    }
                }
            }
            // The next one need not look for an idle handle first, unless it has to start a janitor.
            let crowded = at <= state.janitor_overdue;
            if pool.crowded.load(Ordering::Relaxed) != crowded {
                pool.crowded.store(crowded, Ordering::Relaxed);
            }
            let old = waker.take().and_then(|waker| state.slots.waiters.register(ticket, waker));
            // Work that begins later is overdue later than this, at which the waiter looks again.
            let overdue = state.clock.instant(state.slots.overdue);
            drop(state);
            let later = now.checked_add(pool.config.create_timeout.max(GRACE));
            // In a model, no time passes.
            let look = overdue.into_iter().chain(later).min().filter(|look| *look > now);
            drop(old);
            if again {
                cx.waker().wake_by_ref();
            }
            if let Some(missed) = ready!(deadline.poll_missed_or(look, Stage::Waiting, cx)) {
                return Poll::Ready(Err(pool.explain(pool.timed_out(missed), holder)));
            }
        }
    }
}

impl<R: Resource> Drop for CheckOut<R> {
    fn drop(&mut self) {
        let (Some(pool), Some(ticket)) = (&self.pool, self.ticket.take()) else { return };
        let mut state = pool.state.lock();
        let (grant, waker) = state.slots.waiters.leave(&ticket);
        drop(state);
        catch::drop_quietly(waker);
        if let Some((slot, handle)) = grant {
            pool.put_unused(slot, handle, |_| true);
        }
    }
}
