//! Creations. A creation belongs to the pool: its caller may leave, and the new handle goes to the oldest waiter.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::inner::{Begun, Inner};
use super::slots::Claim;
use super::validate;
use crate::cell::Site;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::Lease;
use crate::lease::acquire::is_lost;
use crate::lease::context::Origin;
use crate::reaper::account::Acquiring;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::runtime::Runtime;
use crate::rt::sync::Mutex;

/// How many creations one event begins at most.
const AT_A_TIME: usize = 16;

/// The error of a creation that was lost because of its caller's runtime, for that caller alone.
pub(super) type LostError<R> = Arc<Mutex<Option<Error<<R as Resource>::Cause>>>>;

type Making<R> = Pin<Box<dyn Future<Output = Result<Lease<R>, Unmade<R>>> + Send>>;

/// Why a creation has failed, and the handle that it has made, if that is unsound.
type Unmade<R> = (Error<<R as Resource>::Cause>, Option<Lease<R>>);

struct Creation<R: Resource> {
    /// Weak, so that a creation does not keep a dropped pool alive.
    pool: Weak<Inner<R>>,
    begun: Begun,
    /// The number of `clear`s before it began.
    clears: u32,
    /// Whether the handle is validated when it arrives.
    validates: bool,
    /// `None` if no caller waits for this creation.
    lost: Option<LostError<R>>,
    /// `None` once it has ended.
    making: Option<Making<R>>,
    /// Makes a close wait for the creation. Dropped last.
    _counted: Acquiring,
}

/// Begins a creation, polls it once in place, because many resources are ready at once, and spawns the rest as a task.
/// Returns where the caller finds the error of a lost creation.
pub(super) fn begin<R: Resource>(
    pool: &Arc<Inner<R>>,
    begun: Begun,
    taken_at: Site,
    cx: &mut Context<'_>,
) -> LostError<R> {
    let lost = LostError::<R>::default();
    let mut creation = Creation::new(pool, begun, taken_at, Some(Arc::clone(&lost)));
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
    fn new(pool: &Arc<Inner<R>>, begun: Begun, taken_at: Site, lost: Option<LostError<R>>) -> Self {
        let origin = Origin { taken_at, scope: None };
        let acquiring = Lease::acquire_at(&pool.reaper, &pool.resource, origin);
        let state = pool.state.lock();
        let (clears, validates) = (state.clears, state.validates_new());
        drop(state);
        let timeout = validates.then_some(pool.config.validate_timeout);
        let making: Making<R> = Box::pin(async move {
            let lease = acquiring.await.map_err(|error| (error, None))?;
            check_arrival(lease, timeout).await
        });
        let counted = Acquiring::begin(pool.reaper.accounting());
        Creation {
            pool: Arc::downgrade(pool),
            begun,
            clears,
            validates,
            lost,
            making: Some(making),
            _counted: counted,
        }
    }

    /// Stores the error of a lost creation. Called before the waiters are woken, of which the caller is one.
    fn set_lost(&self, error: Error<R::Cause>) {
        if let Some(lost) = &self.lost {
            *lost.lock() = Some(error);
        }
    }
}

/// Turns a handle that is dead on arrival into an error, and one that fails its validation, if it is to be validated. A
/// backend or load balancer that accepts connections and closes them at once is down, and must not be tried again and
/// again.
async fn check_arrival<R: Resource>(mut lease: Lease<R>, validated: Option<Duration>) -> Result<Lease<R>, Unmade<R>> {
    let error = if lease.probe() == Health::Dead {
        Error::unavailable().at(Stage::Acquiring).with_context("the new handle was dead on arrival")
    } else {
        let resource = Arc::clone(Lease::resource(&lease));
        let outcome = match validated {
            Some(timeout) => validate::within(&*resource, &mut lease, timeout).await,
            None => Ok(()),
        };
        match outcome {
            Ok(()) => return Ok(lease),
            Err(error) if is_lost(&error) => error,
            Err(error) => error.into_unavailable().with_context("the new handle failed its first validation"),
        }
    };
    Err((error, Some(lease)))
}

impl<R: Resource> Future for Creation<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(making) = &mut this.making else { return Poll::Ready(()) };
        let outcome = ready!(making.as_mut().poll(cx));
        let (Some(_), Some(pool)) = (this.making.take(), this.pool.upgrade()) else {
            return Poll::Ready(());
        };
        match outcome {
            Ok(lease) => pool.created(this.begun, lease, this.clears, this.validates),
            Err((error, unsound)) if is_lost(&error) => {
                this.set_lost(error);
                pool.create_lost(this.begun, unsound);
            }
            Err((error, unsound)) => pool.create_failed(this.begun, error, unsound),
        }
        Poll::Ready(())
    }
}

impl<R: Resource> Drop for Creation<R> {
    fn drop(&mut self) {
        let Some(making) = self.making.take() else { return };
        catch::drop_quietly(making);
        if let Some(pool) = self.pool.upgrade() {
            pool.create_lost(self.begun, None);
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Claims a slot for a creation, if one is wanted and the breaker allows it, and returns the line of code that causes
    /// it: of the first waiter for which no creation runs yet, else of the pool. If the breaker refuses, wakes the
    /// waiters that nothing can serve any more.
    fn begin(&self, spare: usize) -> Option<(Begun, Site)> {
        let mut state = self.state.lock();
        let creating = state.slots.counts().creating;
        let cause = state.slots.waiters().nth(creating).map_or(self.built_at, |waiter| waiter.origin.taken_at);
        let begun = state.begin(self, spare);
        let wakers = if begun.is_err() { state.hopeless() } else { Vec::new() };
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
        for _ in 0..AT_A_TIME {
            let Some((begun, cause)) = self.begin(spare) else { return };
            drop(runtime.spawn(Creation::new(self, begun, cause, lost.cloned())));
        }
    }

    /// Frees the slot of a creation that has made no sound handle: at once, or when the unsound one is released (L13).
    fn end_creation(self: &Arc<Self>, claim: Claim, unsound: Option<Lease<R>>) {
        match unsound.map(Lease::into_parts) {
            Some((handle, account)) => self.retire(Some(claim), handle, account, Exit::Failed),
            None => drop(self.state.lock().slots.free(claim)),
        }
    }

    fn create_failed(self: &Arc<Self>, begun: Begun, error: Error<R::Cause>, unsound: Option<Lease<R>>) {
        // The breaker first: the free slot would be used for the next creation.
        let forgotten = self.state.lock().creation_failed(self, begun, error);
        drop(forgotten);
        self.end_creation(begun.0, unsound);
        let wakers = self.state.lock().hopeless();
        catch::wake_all(wakers);
        self.changed.notify_waiters();
        self.start_creations();
    }

    /// Frees the slot of a creation that was dropped with its runtime, or failed because of it. The breaker does not
    /// count it, because it says nothing about the backend. A waiter on another runtime begins again.
    fn create_lost(self: &Arc<Self>, begun: Begun, unsound: Option<Lease<R>>) {
        self.state.lock().creation_lost(begun);
        self.end_creation(begun.0, unsound);
        let wakers = self.state.lock().slots.waiters().wakers();
        catch::wake_all(wakers);
        self.changed.notify_waiters();
    }
}
