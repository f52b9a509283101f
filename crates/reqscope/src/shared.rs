use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::cell::waiters::WaiterId;
use crate::cell::{Cell, Found, Phase, Site, Take};
use crate::details::Details;
use crate::error::Error;
use crate::lease::Lease;
use crate::lease::acquire::{Acquisition, PendingAttempt, Sink, TryAcquire, begin};
use crate::lease::context::{AcquireContext, Origin};
use crate::reaper::Reaper;
use crate::reaper::account::Acquiring;
use crate::resource::{Health, Resource};
use crate::rt::catch::QuietArc;
use crate::rt::runtime::AbortHandle;

/// One handle for the whole server, used without a scope: a client that multiplexes, a memory-mapped file, a cache.
///
/// The handle is acquired on first use, once for all concurrent callers, and replaced when its
/// [`probe`](Resource::probe) returns `Dead`. Users of the old handle keep it; it is released when the last of them has
/// dropped it. Users only get a `&Handle`, so the handle must be usable through a shared reference.
///
/// A `Shared` is not `Clone`; put it into an `Arc`. Dropping it cancels a running acquisition; an acquired handle is
/// released when its last user has dropped it. A shared handle has no verdict: it is released as
/// [`Exit::Cancelled`](crate::Exit::Cancelled).
///
/// # What it is not
///
/// `Shared` is not a [`Resource`] itself, because a scope would release a handle that other requests still use.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Shared, resource_fn};
/// use std::{convert::Infallible, sync::atomic::{AtomicU64, Ordering}};
///
/// let hits = Shared::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(AtomicU64::new(0)) }));
///
/// hits.get().await.unwrap().fetch_add(1, Ordering::Relaxed);
/// let again = hits.get().await.unwrap();
/// assert_eq!(again.load(Ordering::Relaxed), 1);
/// # });
/// ```
pub struct Shared<R: Resource> {
    state: Arc<SharedState<R>>,
}

struct SharedState<R: Resource> {
    /// A loan lasts only while the `Arc` is cloned.
    cell: Cell<Arc<Lease<R>>, (), Error<R::Cause>, AbortHandle>,
    resource: QuietArc<R>,
    reaper: Reaper,
}

impl<R: Resource> Shared<R> {
    /// Creates a shared handle whose timeouts, observer and counters are those of [`Reaper::global`].
    pub fn new(inner: R) -> Self {
        Self::new_in(Reaper::global(), inner)
    }

    /// Creates a shared handle whose timeouts, observer and counters are those of `reaper`.
    ///
    /// If `reaper` is that of the server's [`Scopes`](crate::Scopes), a drain waits for the handle too:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Scopes, Shared, resource_fn};
    /// # use std::convert::Infallible;
    /// let scopes = Scopes::new();
    /// let client = resource_fn(|| async { Ok::<_, Error<Infallible>>("client") });
    /// let client = Shared::new_in(scopes.reaper(), client);
    /// assert_eq!(*client.get().await.unwrap(), "client");
    /// assert_eq!(scopes.stats().live, 1);
    /// # });
    /// ```
    pub fn new_in(reaper: &Reaper, inner: R) -> Self {
        Shared {
            state: Arc::new(SharedState {
                cell: Cell::new(),
                resource: QuietArc::new(&Arc::new(inner)),
                reaper: reaper.clone(),
            }),
        }
    }

    /// Returns a reference to the resource.
    pub fn get_ref(&self) -> &R {
        &self.state.resource
    }
}

impl<R: Resource> Shared<R>
where
    R::Handle: Sync,
{
    /// Returns the shared handle, after acquiring it if there is none or if it is dead.
    ///
    /// # Errors
    ///
    /// - the error that [`Resource::acquire`] returned, shared by all callers that waited for that attempt; the next
    ///   `get` tries again
    /// - [`is_timeout`](Error::is_timeout) after the
    ///   [acquire timeout](crate::reaper::ReaperBuilder::acquire_timeout) (60 s by default)
    /// - [`is_unavailable`](Error::is_unavailable) if a new handle is already dead
    /// - [`is_closed`](Error::is_closed) once the `Shared` has been dropped
    /// - an error that names the missing runtime, if the acquisition has to wait and there is no tokio runtime with
    ///   timers
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is lost: a running acquisition continues in a task of its own, for the next
    /// caller.
    #[track_caller]
    pub fn get(&self) -> SharedGet<R> {
        SharedGet {
            state: Arc::clone(&self.state),
            site: Location::caller(),
            waiter: WaiterId::default(),
            replaced: false,
        }
    }
}

impl<R: Resource> Drop for Shared<R> {
    fn drop(&mut self) {
        // An idle handle is dropped here: that is one count of its `Arc`, and the drop of the last one releases it.
        if let Found::Over(Phase::Acquiring(Some(task))) = self.state.cell.seal() {
            task.abort();
        }
    }
}

impl<R: Resource> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state.cell.state()).finish_non_exhaustive()
    }
}

impl<R: Resource> Sink<R> for SharedState<R>
where
    R::Handle: Sync,
{
    fn deliver(&self, attempt: u32, lease: Lease<R>) {
        if let Err((refused, ())) = self.cell.deliver(attempt, Arc::new(lease), ()) {
            refused.late();
        }
    }

    fn fail(&self, attempt: u32, error: &Error<R::Cause>) -> bool {
        self.cell.fail(attempt, error)
    }

    fn set_cancel(&self, attempt: u32, cancel: AbortHandle) -> Option<AbortHandle> {
        self.cell.set_cancel(attempt, cancel)
    }
}

/// The future returned by [`Shared::get`], whose docs list the errors.
///
/// # Cancel safety
///
/// If the future is dropped, it loses its place among the waiters and nothing else: a running acquisition continues.
///
/// # Examples
///
/// The future borrows nothing, so it can be moved to a task:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Error, Shared, resource_fn};
/// # use std::convert::Infallible;
/// # let number = Shared::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
/// let get = number.get();
/// let task = tokio::spawn(async move { *get.await.unwrap() });
/// assert_eq!(task.await.unwrap(), 7);
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct SharedGet<R: Resource> {
    state: Arc<SharedState<R>>,
    site: Site,
    waiter: WaiterId,
    /// Set once a dead handle has been replaced. If the new one is dead too, `get` returns an error.
    replaced: bool,
}

impl<R: Resource> Future for SharedGet<R>
where
    R::Handle: Sync,
{
    type Output = Result<SharedHandle<R>, Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let state = &this.state;
        let count = || Acquiring::begin(state.reaper.accounting());
        loop {
            match state.cell.take(&mut this.waiter, this.site, cx.waker(), count) {
                Take::Lent(dead) if dead.probe() == Health::Dead => {
                    state.cell.detach();
                    drop(dead);
                    if std::mem::replace(&mut this.replaced, true) {
                        let error = Error::unavailable().with_context("a new handle was already dead");
                        return Poll::Ready(Err(error));
                    }
                }
                Take::Lent(lease) => {
                    let handle = SharedHandle { lease: Arc::clone(&lease) };
                    // If the cell has been sealed, this drops its count, and the user's count remains.
                    drop(state.cell.give_back(lease));
                    return Poll::Ready(Ok(handle));
                }
                Take::Begin(number, counted) => {
                    let origin = Origin { taken_at: this.site, scope: None };
                    // It outlives the request that happens to acquire it.
                    let details = Details::NONE;
                    let context = AcquireContext { reaper: state.reaper.clone(), details, origin };
                    let enqueue = |waker: &Waker| state.cell.enqueue(&mut this.waiter, waker);
                    let outcome = match Acquisition::<R>::try_acquire(&state.resource, context) {
                        TryAcquire::Acquired(handle, context) => {
                            let account = context.open(Duration::ZERO);
                            Some(Ok(Lease::new(handle, state.resource.clone(), account)))
                        }
                        TryAcquire::Failed(error) => Some(Err(error)),
                        TryAcquire::NotReady(context) => {
                            let attempt = PendingAttempt { number, counted, context };
                            begin(state, &state.resource, attempt, enqueue, cx)
                        }
                    };
                    match outcome {
                        Some(Err(error)) => {
                            state.cell.fail(number, &error);
                            return Poll::Ready(Err(error));
                        }
                        Some(Ok(lease)) => state.deliver(number, lease),
                        None => {}
                    }
                }
                Take::Wait(_) | Take::Yield => return Poll::Pending,
                Take::Failed(error) => return Poll::Ready(Err(error)),
                Take::Closed => return Poll::Ready(Err(Error::closed())),
            }
        }
    }
}

impl<R: Resource> Drop for SharedGet<R> {
    fn drop(&mut self) {
        self.state.cell.leave(&mut self.waiter);
    }
}

impl<R: Resource> fmt::Debug for SharedGet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedGet").field("state", &self.state.cell.state()).finish_non_exhaustive()
    }
}

/// A reference-counted reference to the shared handle.
///
/// Clones refer to the same handle, which lives as long as the last of them:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Error, Shared, resource_fn};
/// # use std::convert::Infallible;
/// # let client = Shared::new(resource_fn(|| async { Ok::<_, Error<Infallible>>("client") }));
/// let mine = client.get().await.unwrap();
/// let yours = mine.clone();
/// drop(client); // no more gets
/// drop(mine);
/// assert_eq!(*yours, "client");
/// # });
/// ```
pub struct SharedHandle<R: Resource> {
    lease: Arc<Lease<R>>,
}

impl<R: Resource> Deref for SharedHandle<R> {
    type Target = R::Handle;

    fn deref(&self) -> &R::Handle {
        &self.lease
    }
}

impl<R: Resource> Clone for SharedHandle<R> {
    fn clone(&self) -> Self {
        SharedHandle { lease: Arc::clone(&self.lease) }
    }
}

impl<R: Resource> fmt::Debug for SharedHandle<R>
where
    R::Handle: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedHandle").field(&**self).finish()
    }
}
