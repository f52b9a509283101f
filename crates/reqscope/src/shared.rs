use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use crate::cell::Site;
use crate::cell::state::LazyState;
use crate::details::Details;
use crate::error::{Error, Situation, Stage};
use crate::lease::Lease;
use crate::lease::acquire::{Acquisition, GRACE, NOT_DRIVEN, PendingAttempt, Sink, TryAcquire, begin, is_lost};
use crate::lease::context::{AcquireContext, Origin};
use crate::observer::Subject;
use crate::reaper::Reaper;
use crate::reaper::account::Acquiring;
use crate::resource::{Health, Resource};
use crate::rt::catch::{self, QuietArc};
use crate::rt::runtime::{AbortHandle, coop};
use crate::rt::sync::Mutex;
use crate::rt::time::Deadline;
use crate::rt::wakers::{WakerList, WakerTicket};
use crate::stack;

/// One handle for the whole server, used without a scope: a client that multiplexes, a memory-mapped file, a cache.
///
/// The handle is acquired on first use, once for all concurrent callers, and replaced when its
/// [`probe`](Resource::probe) returns `Dead`. Users of the old handle keep it; it is released when the last of them has
/// dropped it. Users only get a `&Handle`, so the handle must be usable through a shared reference, and any number of
/// them use it at once: a `get` of a handle that exists never waits for another caller.
///
/// A `Shared` is not `Clone`; put it into an `Arc`. Dropping it cancels a running acquisition; an acquired handle is
/// released when its last user has dropped it. A shared handle has no verdict: it is released as
/// [`Exit::Cancelled`](crate::Exit::Cancelled).
///
/// # What it is not
///
/// `Shared` is not a [`Resource`] itself, because a scope would release a handle that other requests still use. It is not
/// for handles that [end with their request](Resource::ends_with_request), such as transactions.
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
    current: Mutex<Current<R>>,
    resource: QuietArc<R>,
    reaper: Reaper,
}

/// The state of a shared handle. A value that is replaced is dropped outside of the lock, because that may run user
/// code.
enum Current<R: Resource> {
    Unused,
    /// At most one attempt is in progress. Until it has ended, it and the state refer to each other.
    Acquiring(Arc<Attempt<R>>),
    Ready(Arc<Lease<R>>),
    Closed,
}

/// What a `get` finds.
enum Found<R: Resource> {
    Ready(Arc<Lease<R>>),
    /// The caller begins this attempt, and keeps the second field, which counts it, until it has ended.
    Begin(Arc<Attempt<R>>, Acquiring),
    Wait(Arc<Attempt<R>>),
    Closed,
}

impl<R: Resource> SharedState<R> {
    fn find(self: &Arc<Self>, site: Site) -> Found<R> {
        let mut current = self.current.lock();
        match &*current {
            Current::Ready(lease) => Found::Ready(Arc::clone(lease)),
            Current::Acquiring(attempt) => Found::Wait(Arc::clone(attempt)),
            Current::Closed => Found::Closed,
            Current::Unused => {
                let attempt = Arc::new(Attempt::new(Arc::clone(self), site));
                *current = Current::Acquiring(Arc::clone(&attempt));
                // Counted under the lock, so that a drop of the `Shared` that finds the attempt comes after the count.
                Found::Begin(attempt, Acquiring::begin(self.reaper.accounting()))
            }
        }
    }

    /// Replaces the state if it is the `expected` one, and returns what it was. Returns `next` otherwise.
    fn replace(
        &self,
        expected: impl FnOnce(&Current<R>) -> bool,
        next: Current<R>,
    ) -> Result<Current<R>, Current<R>> {
        let mut current = self.current.lock();
        if expected(&current) { Ok(mem::replace(&mut current, next)) } else { Err(next) }
    }

    /// Removes a dead handle. Its users keep it. It may have been replaced already; then this does nothing.
    fn remove(&self, dead: &Arc<Lease<R>>) {
        let is_current = |current: &Current<R>| matches!(current, Current::Ready(lease) if Arc::ptr_eq(lease, dead));
        drop(self.replace(is_current, Current::Unused));
    }

    /// Gives up the attempt that is in progress, as a waiter does after its deadline. For models, whose clock stands
    /// still.
    #[cfg(all(test, reqscope_loom))]
    fn give_up(&self) -> bool {
        let attempt = match &*self.current.lock() {
            Current::Acquiring(attempt) => Arc::clone(attempt),
            _ => return false,
        };
        attempt.give_up()
    }

    fn state(&self) -> LazyState {
        match *self.current.lock() {
            Current::Unused => LazyState::Unused,
            Current::Acquiring(_) => LazyState::Acquiring,
            Current::Ready(_) => LazyState::Ready,
            Current::Closed => LazyState::Closed,
        }
    }
}

/// One acquisition of the shared handle, and the callers that wait for it.
struct Attempt<R: Resource> {
    owner: Arc<SharedState<R>>,
    /// The line of code that began it.
    site: Site,
    /// When its task, if it is polled, has ended it at the latest.
    deadline: Deadline,
    progress: Mutex<Progress<R::Cause>>,
}

struct Progress<C> {
    ended: Option<Ended<C>>,
    cancel: Option<AbortHandle>,
    waiters: WakerList,
}

/// How an attempt ended.
enum Ended<C> {
    /// The handle was delivered, the attempt was given up, or the `Shared` was dropped: waiters look again.
    Over,
    /// All waiters get this error (L7).
    Failed(Error<C>),
    /// The runtime of the caller that began the attempt was unusable. That caller gets the error, and another waiter
    /// begins the next attempt.
    Lost(Error<C>),
}

impl<R: Resource> Attempt<R> {
    fn new(owner: Arc<SharedState<R>>, site: Site) -> Self {
        let deadline = Deadline::after(owner.reaper.accounting().limits.acquire);
        let progress = Progress { ended: None, cancel: None, waiters: WakerList::default() };
        Attempt { owner, site, deadline, progress: Mutex::new(progress) }
    }

    /// Ends the attempt, unless it has ended already. Returns `next` then, and how to cancel its task otherwise.
    fn end(&self, next: Current<R>, ended: Ended<R::Cause>) -> Result<Option<AbortHandle>, Current<R>> {
        let is_this =
            |current: &Current<R>| matches!(current, Current::Acquiring(other) if std::ptr::eq(&**other, self));
        // Dropped last, because it may be the last reference to this attempt.
        let _before = self.owner.replace(is_this, next)?;
        Ok(self.conclude(ended))
    }

    /// Wakes the waiters of an attempt that the state refers to no more.
    fn conclude(&self, ended: Ended<R::Cause>) -> Option<AbortHandle> {
        let mut progress = self.progress.lock();
        progress.ended = Some(ended);
        let cancel = progress.cancel.take();
        let waiters = progress.waiters.take_all();
        drop(progress);
        catch::wake_all(waiters);
        cancel
    }

    /// Ends the wait of a caller whose deadline has passed. If that of the attempt has passed too, the task that runs it
    /// is not polled, and the caller gives it up; a handle that it still delivers is late. Returns `Ok` if the attempt
    /// has ended meanwhile.
    fn time_out(&self, missed: Error<R::Cause>) -> Result<(), Error<R::Cause>> {
        if !self.deadline.has_passed() {
            return Err(missed);
        }
        if !self.give_up() {
            return Ok(());
        }
        let missed = missed.with_context(NOT_DRIVEN);
        let subject = Subject::of::<R>(self.site, &Details::NONE);
        self.owner.reaper.accounting().acquire_failed(subject, &missed);
        Err(missed)
    }

    /// Ends the attempt without a result; another waiter begins the next one. Returns `false` if it has ended already.
    fn give_up(&self) -> bool {
        let Ok(cancel) = self.end(Current::Unused, Ended::Over) else { return false };
        if let Some(cancel) = cancel {
            cancel.abort();
        }
        true
    }

    fn poll(&self, waiter: &mut WakerTicket, began: bool, waker: &Waker) -> Poll<Result<(), Error<R::Cause>>> {
        // Cloned and dropped outside of the lock, because a waker is user code.
        let waker = waker.clone();
        let mut progress = self.progress.lock();
        let outcome = match &progress.ended {
            None => {
                let old = progress.waiters.register(waiter, waker);
                drop(progress);
                drop(old);
                return Poll::Pending;
            }
            Some(Ended::Failed(error)) => Err(error.clone()),
            Some(Ended::Lost(error)) if began => Err(error.clone()),
            Some(Ended::Lost(_) | Ended::Over) => Ok(()),
        };
        drop(progress);
        Poll::Ready(outcome)
    }

    fn leave(&self, waiter: &mut WakerTicket) {
        let waker = self.progress.lock().waiters.leave(waiter);
        catch::drop_quietly(waker);
    }
}

impl<R: Resource> Sink<R> for Attempt<R>
where
    R::Handle: Sync,
{
    fn deliver(&self, _: u32, lease: Lease<R>) {
        if let Err(Current::Ready(refused)) = self.end(Current::Ready(Arc::new(lease)), Ended::Over) {
            refused.late();
        }
    }

    fn fail(&self, _: u32, error: &Error<R::Cause>) -> bool {
        let ended = if is_lost(error) { Ended::Lost } else { Ended::Failed };
        self.end(Current::Unused, ended(error.clone())).is_ok()
    }

    fn set_cancel(&self, _: u32, cancel: AbortHandle) -> Option<AbortHandle> {
        let mut progress = self.progress.lock();
        match progress.ended {
            // Called once for each attempt, so this is `None`.
            None => progress.cancel.replace(cancel),
            Some(_) => Some(cancel),
        }
    }
}

impl<R: Resource> Shared<R> {
    /// Creates a shared handle whose timeouts, observer and counters are those of [`Reaper::global`].
    ///
    /// # Panics
    ///
    /// If the handles of `inner` must [end with their request](Resource::ends_with_request).
    #[track_caller]
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
    ///
    /// # Panics
    ///
    /// Same as [`new`](Self::new).
    #[track_caller]
    pub fn new_in(reaper: &Reaper, inner: R) -> Self {
        stack::assert_shareable(&inner);
        Shared {
            state: Arc::new(SharedState {
                current: Mutex::new(Current::Unused),
                resource: QuietArc::new(&Arc::new(inner)),
                reaper: reaper.clone(),
            }),
        }
    }

    #[cfg(all(test, reqscope_loom))]
    pub(crate) fn give_up(&self) -> bool {
        self.state.give_up()
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
    /// If there is a live handle, the `get` does not wait for any other caller. Otherwise one acquisition serves all callers.
    /// It belongs to the `Shared`: an acquisition that has to wait moves to a task of its own, on the runtime of the
    /// caller that began it. If that runtime is blocked or no longer driven, so that the task cannot keep its own
    /// deadline, the first waiter whose deadline passes gives the acquisition up, and the other waiters begin another
    /// one. A handle that still arrives from the first is released.
    ///
    /// A dead handle is replaced once in each `get`. Each `get` counts against tokio's
    /// [cooperative budget](tokio::task::coop), so a `get` that is ready may wait for the next turn of its task.
    ///
    /// # Errors
    ///
    /// - the error that [`Resource::acquire`] returned, shared by all callers that waited for that attempt; the next
    ///   `get` tries again
    /// - [`is_timeout`](Error::is_timeout) after the
    ///   [acquire timeout](crate::reaper::ReaperBuilder::acquire_timeout) (60 s by default)
    /// - [`is_unavailable`](Error::is_unavailable) if a new handle is already dead
    /// - [`is_closed`](Error::is_closed) once the `Shared` has been dropped
    /// - [`is_runtime`](Error::is_runtime) if the caller has to wait and there is no tokio runtime with timers; other
    ///   waiters do not get this error, one of them begins the next attempt
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
            waiting: None,
            deadline: None,
            replaced: false,
        }
    }
}

impl<R: Resource> Drop for Shared<R> {
    fn drop(&mut self) {
        // A handle is dropped here: that is one count of its `Arc`, and the drop of the last one releases it.
        if let Ok(Current::Acquiring(attempt)) = self.state.replace(|_| true, Current::Closed) {
            if let Some(cancel) = attempt.conclude(Ended::Over) {
                cancel.abort();
            }
        }
    }
}

impl<R: Resource> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state.state()).finish_non_exhaustive()
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
    waiting: Option<Waiting<R>>,
    /// The deadline of this future, from its first wait on.
    deadline: Option<Deadline>,
    /// Set once a dead handle has been replaced. If the new one is dead too, `get` returns an error.
    replaced: bool,
}

/// A wait for an attempt.
struct Waiting<R: Resource> {
    attempt: Arc<Attempt<R>>,
    waiter: WakerTicket,
    /// Whether this future began the attempt.
    began: bool,
}

impl<R: Resource> Future for SharedGet<R>
where
    R::Handle: Sync,
{
    type Output = Result<SharedHandle<R>, Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A loop of gets that are ready must not keep the other tasks of the thread from running.
        let budget = ready!(coop::poll_proceed(cx));
        let outcome = ready!(self.poll_get(cx));
        budget.made_progress();
        Poll::Ready(outcome)
    }
}

impl<R: Resource> SharedGet<R>
where
    R::Handle: Sync,
{
    fn poll_get(&mut self, cx: &mut Context<'_>) -> Poll<Result<SharedHandle<R>, Error<R::Cause>>> {
        loop {
            if self.waiting.is_some() {
                if let Err(error) = ready!(self.poll_attempt(cx)) {
                    return Poll::Ready(Err(error));
                }
            }
            match self.state.find(self.site) {
                // Outside of the lock, because it is user code.
                Found::Ready(lease) if lease.probe() == Health::Dead => {
                    self.state.remove(&lease);
                    drop(lease);
                    if mem::replace(&mut self.replaced, true) {
                        let error = Error::unavailable().with_context("a new handle was already dead");
                        return Poll::Ready(Err(error));
                    }
                }
                Found::Ready(lease) => return Poll::Ready(Ok(SharedHandle { lease })),
                Found::Begin(attempt, counted) => {
                    if let Err(error) = self.begin(attempt, counted, cx) {
                        return Poll::Ready(Err(error));
                    }
                }
                Found::Wait(attempt) => {
                    self.waiting = Some(Waiting { attempt, waiter: WakerTicket::default(), began: false });
                }
                Found::Closed => {
                    let resource = type_name::<R>();
                    return Poll::Ready(Err(Error::closed_as(Situation::SharedClosed { resource })));
                }
            }
        }
    }

    /// Runs the new attempt as far as it goes without waiting. If it has to wait, its task ends it.
    #[cold]
    fn begin(
        &mut self,
        attempt: Arc<Attempt<R>>,
        counted: Acquiring,
        cx: &mut Context<'_>,
    ) -> Result<(), Error<R::Cause>> {
        let resource = &self.state.resource;
        let origin = Origin { taken_at: self.site, scope: None };
        // None of a request: the handle outlives the request that happens to acquire it.
        let details = Details::NONE;
        let context = AcquireContext { shard: self.state.reaper.own_shard(), details, origin };
        let mut waiter = WakerTicket::default();
        let outcome = match Acquisition::<R>::try_acquire(resource, context) {
            TryAcquire::Acquired(handle, context) => {
                Some(Ok(Lease::new(handle, resource.clone(), context.open(Duration::ZERO))))
            }
            TryAcquire::Failed(error) => Some(Err(error)),
            TryAcquire::NotReady(context) => {
                let pending = PendingAttempt { number: 0, counted, context };
                let enqueue = |waker: &Waker| drop(attempt.poll(&mut waiter, true, waker));
                begin(&attempt, resource, pending, enqueue, cx)
            }
        };
        match outcome {
            Some(Ok(lease)) => attempt.deliver(0, lease),
            Some(Err(error)) => {
                attempt.fail(0, &error);
                return Err(error);
            }
            None => self.waiting = Some(Waiting { attempt, waiter, began: true }),
        }
        Ok(())
    }
}

impl<R: Resource> SharedGet<R> {
    /// Waits for the attempt, up to this future's own deadline. After `Ok` there is something new to find.
    #[cold]
    fn poll_attempt(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<R::Cause>>> {
        let Some(Waiting { attempt, waiter, began }) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let outcome = match attempt.poll(waiter, *began, cx.waker()) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                let timeout = self.state.reaper.accounting().limits.acquire.saturating_add(GRACE);
                let deadline = self.deadline.get_or_insert_with(|| Deadline::after(timeout));
                let missed = ready!(deadline.poll_missed(Stage::Acquiring, cx));
                if missed.is_timeout() { attempt.time_out(missed) } else { Err(missed) }
            }
        };
        self.leave();
        Poll::Ready(outcome)
    }

    fn leave(&mut self) {
        if let Some(Waiting { attempt, mut waiter, .. }) = self.waiting.take() {
            attempt.leave(&mut waiter);
        }
    }
}

impl<R: Resource> Drop for SharedGet<R> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<R: Resource> fmt::Debug for SharedGet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedGet").field("state", &self.state.state()).finish_non_exhaustive()
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
