//! A creation belongs to the pool: whoever caused it may leave, and what it brings goes to the oldest waiter.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::breaker::Attempt;
use super::inner::{Begun, Inner};
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::Lease;
use crate::reaper::account::Acquiring;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::rand;
use crate::rt::runtime::Runtime;

type Making<R> = Pin<Box<dyn Future<Output = Result<Lease<R>, Error<<R as Resource>::Cause>>> + Send>>;

struct Creation<R: Resource> {
    /// Weak: a pool that is dropped meanwhile stays dropped.
    pool: Weak<Inner<R>>,
    slot: u32,
    /// How often the pool had been cleared when it began.
    clears: u32,
    /// `None` once it has ended.
    making: Option<(Making<R>, Attempt)>,
    /// A close waits for it. Dropped last.
    _counted: Acquiring,
}

/// Polls it once in place, since many resources are there at once, and then goes on in a task. `false`: there is no
/// runtime for one.
pub(super) fn begin<R: Resource>(pool: &Arc<Inner<R>>, slot: u32, attempt: Attempt, cx: &mut Context<'_>) -> bool {
    let mut creation = Creation::new(pool, slot, attempt);
    if Pin::new(&mut creation).poll(cx).is_ready() {
        return true;
    }
    // It is dropped here where there is no runtime, and gives its slot back. The task polls it again before anything
    // else: no wake-up is lost.
    let Ok(runtime) = Runtime::try_current() else { return false };
    drop(runtime.spawn(creation));
    true
}

impl<R: Resource> Creation<R> {
    #[track_caller]
    fn new(pool: &Arc<Inner<R>>, slot: u32, attempt: Attempt) -> Self {
        let acquiring = Lease::acquire_in(&pool.reaper, &pool.resource);
        let making: Making<R> = Box::pin(async move { arrive(acquiring.await?).await });
        let clears = pool.state.lock().clears;
        let counted = Acquiring::begin(pool.reaper.accounting());
        Creation { pool: Arc::downgrade(pool), slot, clears, making: Some((making, attempt)), _counted: counted }
    }
}

/// What is dead from the start was not created: a backend, or what stands before it, that accepts and hangs up is one
/// that is down, and not to be asked again and again.
async fn arrive<R: Resource>(lease: Lease<R>) -> Result<Lease<R>, Error<R::Cause>> {
    if lease.probe() != Health::Dead {
        return Ok(lease);
    }
    // The slot follows the work (L13). Of an error the observer hears.
    drop(Lease::end(lease, Exit::Failed).await);
    Err(Error::unavailable().at(Stage::Acquiring).with_context("it was dead on arrival"))
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
    /// Takes a slot for a creation, if one is wanted and the breaker lets it. If it does not, those who wait look whether
    /// there is anything left to wait for.
    fn begin(&self, spare: usize) -> Option<Begun> {
        let mut state = self.state.lock();
        let begun = state.begin(&self.config, spare);
        let wakers = if begun.is_err() { state.slots.waiters().wakers() } else { Vec::new() };
        drop(state);
        catch::wake_all(wakers);
        // A refusal is dropped here, outside of the lock.
        begun.ok().flatten()
    }

    /// Begins the creations that are wanted. Where there is no runtime for them, those who wait are woken: whoever is
    /// polled first begins.
    pub(super) fn feed(self: &Arc<Self>) {
        self.feed_up_to(self.config.min_idle);
    }

    /// The same, with so many idle ones besides.
    pub(super) fn feed_up_to(self: &Arc<Self>, spare: usize) {
        let Ok(runtime) = Runtime::try_current() else {
            let wakers = self.state.lock().slots.waiters().wakers();
            return catch::wake_all(wakers);
        };
        // Not for ever: on a runtime that is shutting down each of them comes to nothing at once.
        for _ in 0..self.config.create_concurrency {
            let Some((slot, attempt)) = self.begin(spare) else { return };
            drop(runtime.spawn(Creation::new(self, slot, attempt)));
        }
    }

    fn create_failed(&self, slot: u32, attempt: Attempt, error: Error<R::Cause>) {
        let (now, backs_off) = (Instant::now(), error.is_timeout() || error.is_permanent());
        let mut state = self.state.lock();
        state.slots.free(slot);
        let forgotten = state.breaker.failed(attempt, now, backs_off, error, rand::fraction());
        // They find the breaker open, and the cause in it.
        let wakers = state.slots.waiters().wakers();
        drop(state);
        drop(forgotten);
        catch::wake_all(wakers);
        self.changed.notify_waiters();
    }

    /// It was cut off, with its runtime. Whoever waits on another one begins again.
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
