//! Creations. A creation belongs to the pool: its caller may leave, and the new handle goes to the oldest waiter.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::breaker::Attempt;
use super::inner::{Begun, Inner};
use crate::cell::Site;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::Lease;
use crate::lease::acquire::is_lost;
use crate::lease::context::Origin;
use crate::reaper::account::Acquiring;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::rand;
use crate::rt::runtime::Runtime;
use crate::rt::sync::Mutex;

/// The error of a creation that was lost because of its caller's runtime, for that caller alone.
pub(super) type LostError<R> = Arc<Mutex<Option<Error<<R as Resource>::Cause>>>>;

type Making<R> = Pin<Box<dyn Future<Output = Result<Lease<R>, Error<<R as Resource>::Cause>>> + Send>>;

struct Creation<R: Resource> {
    /// Weak, so that a creation does not keep a dropped pool alive.
    pool: Weak<Inner<R>>,
    slot: u32,
    /// The number of `clear`s before it began.
    clears: u32,
    /// `None` if no caller waits for this creation.
    lost: Option<LostError<R>>,
    /// `None` once it has ended.
    making: Option<(Making<R>, Attempt)>,
    /// Makes a close wait for the creation. Dropped last.
    _counted: Acquiring,
}

/// Begins a creation, polls it once in place, because many resources are ready at once, and spawns the rest as a task.
/// Returns where the caller finds the error of a lost creation.
pub(super) fn begin<R: Resource>(
    pool: &Arc<Inner<R>>,
    slot: u32,
    attempt: Attempt,
    taken_at: Site,
    cx: &mut Context<'_>,
) -> LostError<R> {
    let lost = LostError::<R>::default();
    let mut creation = Creation::new(pool, (slot, attempt), taken_at, Some(Arc::clone(&lost)));
    if Pin::new(&mut creation).poll(cx).is_ready() {
        return lost;
    }
    match Runtime::try_current() {
        // The task polls it before anything else, so no wake-up is lost.
        Ok(runtime) => drop(runtime.spawn(creation)),
        Err(_) => creation.set_lost(Error::runtime("waiting for a handle needs a tokio runtime")),
    }
    lost
}

impl<R: Resource> Creation<R> {
    /// Creates a creation that was caused at `taken_at`. The handle belongs to no scope, but to the pool.
    fn new(pool: &Arc<Inner<R>>, (slot, attempt): Begun, taken_at: Site, lost: Option<LostError<R>>) -> Self {
        let origin = Origin { taken_at, scope: None };
        let acquiring = Lease::acquire_at(&pool.reaper, &pool.resource, origin);
        let making: Making<R> = Box::pin(async move { check_arrival(acquiring.await?).await });
        let clears = pool.state.lock().clears;
        let counted = Acquiring::begin(pool.reaper.accounting());
        let (pool, making) = (Arc::downgrade(pool), Some((making, attempt)));
        Creation { pool, slot, clears, lost, making, _counted: counted }
    }

    /// Stores the error of a lost creation. Called before the waiters are woken, of which the caller is one.
    fn set_lost(&self, error: Error<R::Cause>) {
        if let Some(lost) = &self.lost {
            *lost.lock() = Some(error);
        }
    }
}

/// Turns a handle that is dead on arrival into an error. A backend or load balancer that accepts connections and closes
/// them at once is down, and must not be tried again and again.
async fn check_arrival<R: Resource>(lease: Lease<R>) -> Result<Lease<R>, Error<R::Cause>> {
    if lease.probe() != Health::Dead {
        return Ok(lease);
    }
    // The slot is held until the release has ended (L13). Its error is reported to the observer.
    drop(Lease::end(lease, Exit::Failed).await);
    Err(Error::unavailable().at(Stage::Acquiring).with_context("the new handle was dead on arrival"))
}

impl<R: Resource> Future for Creation<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some((making, _)) = &mut this.making else { return Poll::Ready(()) };
        let outcome = ready!(making.as_mut().poll(cx));
        let (Some((_, attempt)), Some(pool)) = (this.making.take(), this.pool.upgrade()) else {
            return Poll::Ready(());
        };
        match outcome {
            Ok(lease) => pool.created(this.slot, attempt, lease, this.clears),
            Err(error) if is_lost(&error) => {
                this.set_lost(error);
                pool.create_lost(this.slot, attempt);
            }
            Err(error) => pool.create_failed(this.slot, attempt, error),
        }
        Poll::Ready(())
    }
}

impl<R: Resource> Drop for Creation<R> {
    fn drop(&mut self) {
        let Some((making, attempt)) = self.making.take() else { return };
        catch::drop_quietly(making);
        if let Some(pool) = self.pool.upgrade() {
            pool.create_lost(self.slot, attempt);
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Takes a slot for a creation, if one is wanted and the breaker allows it, and returns the line of code that causes
    /// it: of the first waiter for which no creation runs yet, else of the pool. If the breaker refuses, wakes the
    /// waiters, so that they check whether waiting still makes sense.
    fn begin(&self, spare: usize) -> Option<(Begun, Site)> {
        let mut state = self.state.lock();
        let creating = state.slots.counts().creating;
        let cause = state.slots.waiters().nth(creating).map_or(self.built_at, |waiter| waiter.origin.taken_at);
        let begun = state.begin(&self.config, spare);
        let wakers = if begun.is_err() { state.slots.waiters().wakers() } else { Vec::new() };
        drop(state);
        catch::wake_all(wakers);
        // The refusal, if any, is dropped here, outside of the lock.
        begun.ok().flatten().map(|begun| (begun, cause))
    }

    /// Begins the creations that are wanted. Without a runtime for them, wakes the waiters instead: the first one that
    /// is polled begins its own.
    pub(super) fn start_creations(self: &Arc<Self>) {
        self.start_creations_for(self.config.min_idle, None);
    }

    /// Begins the creations that are wanted if `spare` handles are to be idle.
    pub(super) fn start_creations_for(self: &Arc<Self>, spare: usize, lost: Option<&LostError<R>>) {
        let Ok(runtime) = Runtime::try_current() else {
            let wakers = self.state.lock().slots.waiters().wakers();
            return catch::wake_all(wakers);
        };
        // The number is bounded: on a runtime that is shutting down, each creation fails at once.
        for _ in 0..self.config.create_concurrency {
            let Some((begun, cause)) = self.begin(spare) else { return };
            drop(runtime.spawn(Creation::new(self, begun, cause, lost.cloned())));
        }
    }

    fn create_failed(&self, slot: u32, attempt: Attempt, error: Error<R::Cause>) {
        let (now, backs_off) = (Instant::now(), error.is_timeout() || error.is_permanent());
        let mut state = self.state.lock();
        state.slots.free(slot);
        let forgotten = state.breaker.failed(attempt, now, backs_off, error, rand::fraction());
        // The waiters find the breaker open, with the cause.
        let wakers = state.slots.waiters().wakers();
        drop(state);
        drop(forgotten);
        catch::wake_all(wakers);
        self.changed.notify_waiters();
    }

    /// Frees the slot of a creation that was dropped with its runtime, or failed because of it. The breaker does not
    /// count it, because it says nothing about the backend. A waiter on another runtime begins again.
    pub(super) fn create_lost(&self, slot: u32, attempt: Attempt) {
        let mut state = self.state.lock();
        state.slots.free(slot);
        state.breaker.abandoned(attempt);
        let wakers = state.slots.waiters().wakers();
        drop(state);
        catch::wake_all(wakers);
        self.changed.notify_waiters();
    }
}
