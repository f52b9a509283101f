//! Creations. A creation belongs to the pool: its caller may leave, and the new handle goes to the oldest waiter.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use super::inner::{Begun, Inner};
use super::janitor;
use super::slots::Work;
use crate::cell::Site;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::Lease;
use crate::lease::acquire::is_lost;
use crate::lease::context::Origin;
use crate::lease::validate::validate;
use crate::reaper::account::Acquiring;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::rand;
use crate::rt::runtime::Runtime;
use crate::rt::sync::Mutex;
use crate::rt::time::{self, Deadline};

/// How many creations one event begins at most.
const AT_A_TIME: usize = 16;

/// The error of a creation that was lost because of its caller's runtime, for that caller alone.
pub(super) type LostError<R> = Arc<Mutex<Option<Error<<R as Resource>::Cause>>>>;

/// How a creation has ended. `None` if it was lost: dropped with its runtime, or failed because of it.
type Outcome<R> = Option<Result<(), Error<<R as Resource>::Cause>>>;

/// A creation that is under way. If it is dropped with its runtime, it is lost, and its slot is freed.
struct Creation<R: Resource> {
    /// Weak, so that a creation does not keep a dropped pool alive. Empty once it has ended.
    pool: Weak<Inner<R>>,
    begun: Begun,
    /// Makes a close wait for the creation. Dropped last.
    _counted: Acquiring,
}

impl<R: Resource> Drop for Creation<R> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.creation_ended(self.begun, None, None);
        }
    }
}

/// Begins a creation, polls it once in place, because many resources are ready at once, and spawns the rest as a task.
/// Returns where the caller finds the error of a lost creation.
pub(super) fn begin<R: Resource>(pool: &Arc<Inner<R>>, begun: Begun, at: Site, cx: &mut Context<'_>) -> LostError<R> {
    let lost = LostError::<R>::default();
    let mut creation = Box::pin(pool.create(begun, at, Arc::clone(&lost)));
    if creation.as_mut().poll(cx).is_pending() {
        // The task polls it before anything else, so no wake-up is lost. Without a runtime, it is dropped, and the deadline
        // of the caller fails.
        let _lost_without_a_runtime = Runtime::try_current().map(|runtime| runtime.spawn(creation));
    }
    lost
}

/// Returns an error for a new handle that is dead on arrival, or fails its validation, if it is to be validated. A backend
/// or load balancer that accepts connections and closes them at once is down, and must not be tried again and again.
async fn check<R: Resource>(lease: &mut Lease<R>, validation: Option<Duration>) -> Result<(), Error<R::Cause>> {
    if lease.probe() == Health::Dead {
        return Err(Error::unavailable().at(Stage::Acquiring).with_context("the new handle was dead on arrival"));
    }
    let Some(timeout) = validation else { return Ok(()) };
    let resource = Arc::clone(Lease::resource(lease));
    match validate(&*resource, lease, || Deadline::after(timeout)).await {
        Err(error) if !is_lost(&error) => {
            Err(error.into_unavailable().with_context("the new handle failed its first validation"))
        }
        lost_or_sound => lost_or_sound,
    }
}

impl<R: Resource> Inner<R> {
    /// Creates a handle for a caller at this line of code. The handle belongs to no scope, but to the pool.
    fn create(self: &Arc<Self>, begun: Begun, at: Site, lost: LostError<R>) -> impl Future<Output = ()> + use<R> {
        let counted = Acquiring::begin(self.reaper.accounting());
        let mut creation = Creation { pool: Arc::downgrade(self), begun, _counted: counted };
        let acquiring = Lease::acquire_at(&self.reaper, &self.resource, Origin { taken_at: at, scope: None });
        async move {
            let (lease, made) = match acquiring.await {
                Ok(mut lease) => {
                    let made = check(&mut lease, begun.validation).await;
                    (Some(lease), made)
                }
                Err(error) => (None, Err(error)),
            };
            let Some(pool) = mem::take(&mut creation.pool).upgrade() else { return };
            let outcome = match made {
                Err(error) if is_lost(&error) => {
                    *lost.lock() = Some(error);
                    None
                }
                made => Some(made),
            };
            pool.creation_ended(begun, lease, outcome);
        }
    }

    /// Begins the creations that are wanted. Without a runtime for them, wakes the waiters instead: the first one that
    /// is polled begins its own.
    pub(super) fn start_creations(self: &Arc<Self>) {
        self.start_creations_for(self.config.min_idle, None);
    }

    /// Begins the creations that are wanted if `spare` handles are to be idle. If the breaker refuses one, wakes the
    /// waiters that nothing can serve any more.
    pub(super) fn start_creations_for(self: &Arc<Self>, spare: usize, lost: Option<&LostError<R>>) {
        let Ok(runtime) = Runtime::try_current() else { return self.wake_waiters() };
        // The number is bounded: on a runtime that is shutting down, each creation fails at once.
        for _ in 0..AT_A_TIME {
            let mut state = self.state.lock();
            // The first waiter for which no creation runs yet causes it, or else the pool.
            let creating = state.slots.busy(Work::Creating);
            let cause = state.slots.waiters.nth(creating).map_or(self.built_at, |waiter| waiter.origin.taken_at);
            let begun = state.begin(self, spare);
            let wakers = if begun.is_err() { state.hopeless() } else { Vec::new() };
            drop(state);
            catch::wake_all(wakers);
            let Ok(Some(begun)) = begun else { return };
            drop(runtime.spawn(self.create(begun, cause, lost.cloned().unwrap_or_default())));
        }
    }

    fn wake_waiters(&self) {
        let wakers = self.state.lock().slots.waiters.wakers();
        catch::wake_all(wakers);
    }

    /// Ends a creation: puts its handle into the pool, or frees its slot, at once or when an unsound handle is released
    /// (L13).
    ///
    /// The breaker does not count one that was lost, because that says nothing about the backend. A waiter on another
    /// runtime begins again.
    fn creation_ended(self: &Arc<Self>, begun: Begun, lease: Option<Lease<R>>, outcome: Outcome<R>) {
        let (sound, lost) = (matches!(outcome, Some(Ok(()))), outcome.is_none());
        let mut state = self.state.lock();
        // The breaker first: the free slot would be used for the next creation.
        let mut forgotten = None;
        match outcome {
            Some(Ok(())) => state.breaker.succeeded(begun.attempt),
            Some(Err(error)) => {
                let backs_off = error.is_timeout() || error.is_permanent();
                forgotten = state.breaker.failed(begun.attempt, time::now(), backs_off, error, rand::fraction());
            }
            None => state.breaker.abandoned(begun.attempt),
        }
        drop(state);
        drop(forgotten);
        match lease.map(Lease::into_parts) {
            Some((handle, account)) if sound => self.put_new(begun, handle, account),
            Some((handle, account)) => self.retire(begun.slot, handle, Some(account), Exit::Failed),
            None => self.state.lock().slots.free(begun.slot),
        }
        self.changed.notify_waiters();
        if lost {
            self.wake_waiters();
        } else {
            // Also for the waiters that were held back while few creations at a time were allowed.
            self.start_creations();
        }
    }

    /// Waits until `min_idle` handles are idle, and at least one, or as many as there can be.
    pub(super) async fn warm(self: Arc<Self>) -> Result<(), Error<R::Cause>> {
        janitor::start(&self);
        let mut deadline = Deadline::after(self.config.acquire_timeout);
        let lost = LostError::<R>::default();
        loop {
            // Before the check, so that no change after it is missed.
            let mut changed = pin!(self.changed.notified());
            lost.lock().take().map_or(Ok(()), Err)?;
            self.start_creations_for(self.config.min_idle.max(1), Some(&lost));
            if self.is_warm()? {
                return Ok(());
            }
            // The deadline first: on a runtime that has ended, each creation is dropped at once, and only the deadline
            // fails. Dropping this future leaves the creations to the pool.
            poll_fn(|cx| match deadline.poll_missed(Stage::Acquiring, cx) {
                Poll::Ready(missed) => Poll::Ready(Err(missed)),
                Poll::Pending => changed.as_mut().poll(cx).map(Ok),
            })
            .await?;
        }
    }

    /// Returns whether no handle is missing that the pool could create.
    ///
    /// # Errors
    ///
    /// The cause, if the pool is closed or the backend is down.
    fn is_warm(&self) -> Result<bool, Error<R::Cause>> {
        let state = self.state.lock();
        let gauges = state.slots.gauges();
        if state.slots.is_closed() {
            return Err(self.closed());
        }
        let ready = gauges.idle + state.slots.busy(Work::Validating) >= self.config.min_idle.max(1);
        match state.breaker.last_failure() {
            _ if gauges.creating > 0 => Ok(false),
            Some((cause, _)) if state.breaker.is_open() => Err(cause.clone().into_unavailable()),
            _ => Ok(ready || gauges.paused || state.slots.occupied() >= gauges.max_size),
        }
    }
}
