//! Creations. A creation belongs to the pool: its caller may leave, and the new handle goes to the oldest waiter.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;

use super::inner::{Begun, Inner};
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
use crate::rt::rand;
use crate::rt::runtime::Runtime;
use crate::rt::sync::Mutex;
use crate::rt::time::{self, Deadline};

/// How many creations one event begins at most.
const AT_A_TIME: usize = 16;

/// The error of a creation that was lost because of its caller's runtime, for that caller alone.
pub(super) type LostError<R> = Arc<Mutex<Option<Error<<R as Resource>::Cause>>>>;

/// Why a creation has failed, and the handle that it has made, if that is unsound.
type Unmade<R> = (Error<<R as Resource>::Cause>, Option<Lease<R>>);

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
            pool.create_failed(self.begun, None, None);
        }
    }
}

/// Begins a creation, polls it once in place, because many resources are ready at once, and spawns the rest as a task.
/// Returns where the caller finds the error of a lost creation.
pub(super) fn begin<R: Resource>(pool: &Arc<Inner<R>>, begun: Begun, at: Site, cx: &mut Context<'_>) -> LostError<R> {
    let lost = LostError::<R>::default();
    let mut creation = Box::pin(pool.create(begun, at, Arc::clone(&lost)));
    if creation.as_mut().poll(cx).is_pending() {
        match Runtime::try_current() {
            // The task polls it before anything else, so no wake-up is lost.
            Ok(runtime) => drop(runtime.spawn(creation)),
            // Stored before the creation is dropped, which wakes the waiters, of which the caller is one.
            Err(_) => *lost.lock() = Some(Error::runtime("waiting for a handle needs a tokio runtime")),
        }
    }
    lost
}

/// Turns a handle that is dead on arrival into an error, and one that fails its validation, if it is to be validated. A
/// backend or load balancer that accepts connections and closes them at once is down, and must not be tried again and
/// again.
async fn make<R: Resource>(
    acquiring: impl Future<Output = Result<Lease<R>, Error<R::Cause>>>,
    validated: Option<Duration>,
) -> Result<Lease<R>, Unmade<R>> {
    let mut lease = acquiring.await.map_err(|error| (error, None))?;
    let error = if lease.probe() == Health::Dead {
        Error::unavailable().at(Stage::Acquiring).with_context("the new handle was dead on arrival")
    } else {
        let Some(timeout) = validated else { return Ok(lease) };
        let resource = Arc::clone(Lease::resource(&lease));
        match validate::validate(&*resource, &mut lease, || Deadline::after(timeout)).await {
            Ok(()) => return Ok(lease),
            Err(error) if is_lost(&error) => error,
            Err(error) => error.into_unavailable().with_context("the new handle failed its first validation"),
        }
    };
    Err((error, Some(lease)))
}

impl<R: Resource> Inner<R> {
    /// Creates a handle for a caller at this line of code. The handle belongs to no scope, but to the pool.
    fn create(self: &Arc<Self>, begun: Begun, at: Site, lost: LostError<R>) -> impl Future<Output = ()> + use<R> {
        let counted = Acquiring::begin(self.reaper.accounting());
        let mut creation = Creation { pool: Arc::downgrade(self), begun, _counted: counted };
        let acquiring = Lease::acquire_at(&self.reaper, &self.resource, Origin { taken_at: at, scope: None });
        let state = self.state.lock();
        let (clears, validates) = (state.clears, state.validates_new());
        drop(state);
        let timeout = validates.then_some(self.config.validate_timeout);
        async move {
            let outcome = make(acquiring, timeout).await;
            let Some(pool) = mem::take(&mut creation.pool).upgrade() else { return };
            match outcome {
                Ok(lease) => pool.created(begun, lease, clears, validates),
                Err((error, unsound)) if is_lost(&error) => {
                    *lost.lock() = Some(error);
                    pool.create_failed(begun, None, unsound);
                }
                Err((error, unsound)) => pool.create_failed(begun, Some(error), unsound),
            }
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
            let creating = state.slots.counts().creating;
            let cause = state.slots.waiters().nth(creating).map_or(self.built_at, |waiter| waiter.origin.taken_at);
            let begun = state.begin(self, spare);
            let wakers = if begun.is_err() { state.hopeless() } else { Vec::new() };
            drop(state);
            catch::wake_all(wakers);
            let Ok(Some(begun)) = begun else { return };
            drop(runtime.spawn(self.create(begun, cause, lost.cloned().unwrap_or_default())));
        }
    }

    fn wake_waiters(&self) {
        let wakers = self.state.lock().slots.waiters().wakers();
        catch::wake_all(wakers);
    }

    /// Ends a creation that has made no sound handle, and frees its slot: at once, or when the unsound one is released
    /// (L13).
    ///
    /// Without an error, it was dropped with its runtime, or failed because of it. The breaker does not count it,
    /// because it says nothing about the backend. A waiter on another runtime begins again.
    fn create_failed(self: &Arc<Self>, begun: Begun, failure: Option<Error<R::Cause>>, unsound: Option<Lease<R>>) {
        let lost = failure.is_none();
        let mut state = self.state.lock();
        // The breaker first: the free slot would be used for the next creation.
        let forgotten = failure.and_then(|error| {
            state.window = self.config.create_concurrency;
            let backs_off = error.is_timeout() || error.is_permanent();
            state.breaker.failed(begun.1, time::now(), backs_off, error, rand::fraction())
        });
        if lost {
            state.breaker.abandoned(begun.1);
        }
        drop(state);
        drop(forgotten);
        match unsound {
            Some(lease) => self.retire(begun.0, self.adopt(begun.0, lease, false), Exit::Failed),
            None => self.state.lock().slots.free(begun.0),
        }
        self.changed.notify_waiters();
        if lost {
            self.wake_waiters();
        } else {
            self.start_creations();
        }
    }
}
