//! Pools: bounded sets of handles that are reused.

// Each module imports only from those above it.
mod config;
mod waiters;
mod status;
mod slots;
mod breaker;
mod inner;
mod validate;
mod pooled;
mod janitor;
mod create;
mod checkout;

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use config::PoolBuilder;
pub use pooled::Pooled;
pub use status::PoolStatus;

pub use crate::resource::Reset;

use self::inner::{Inner, Parts};
use self::slots::Work;
use self::validate::Unproved;
use crate::error::{Error, Holding};
use crate::exit::Exit;
use crate::identity::Identity;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::clock::Moment;
use crate::rt::defer::Defer;
use crate::rt::runtime::Runtime;
use crate::stack;
use crate::stats::DrainReport;

/// A bounded set of handles of one resource that are reused.
///
/// The pool is a [`Resource`] itself: a request-scoped cell over `Arc<Pool<R>>` checks out one handle per request,
/// however often the request calls `get`. Without a scope, take a handle with [`get`](Pool::get) and return it with
/// [`put`](Pool::put).
///
/// - Callers that find no idle handle wait in FIFO order, for at most the acquire timeout (30 s). A returned handle is
///   granted to the caller that has waited longest. If that caller's future is dropped, the handle goes to the next
///   caller.
/// - A creation belongs to the pool. If the future of the caller that started it is dropped, the new handle goes to the
///   next caller.
/// - A handle whose use was cut is [validated](Resource::validate) at once, and released if that fails. Its slot is held
///   until then. A handle that was dropped without [`put`](Pool::put) is validated before its next use, unless the
///   resource reports that it is clean: see [`Pooled`].
/// - When the first handle is found dead, all idle handles are validated at the same time, so a dead backend costs one
///   timeout instead of one for each handle.
/// - A creation that fails is tried again for its caller, within that caller's timeout. After three failures in a row,
///   or one that is slow or [permanent](Error::is_permanent), the backend counts as down: callers fail at once with the
///   cause, and one creation every 15 to 25 ms checks whether it is back. The interval grows to 1 s if the failures are
///   slow or permanent. After two new handles in a row that turned out to be dead, a creation includes a
///   [validation](Resource::validate), because a proxy may accept connections while the backend is gone.
/// - Clones are the same pool. The last one closes it when it is dropped.
///
/// Users of deadpool, bb8, sqlx, r2d2 and HikariCP find what is called how, and what differs, in [coming from another
/// pool](https://github.com/reqscope/reqscope/blob/main/docs/COMING-FROM.md).
///
/// # Runtimes
///
/// Creations, validations and the janitor run on the runtime of the caller that caused them. If that runtime ends, or
/// is not driven any more and their timeout has passed, their slots are freed, and a waiter on another runtime starts
/// over. A result that comes later is released. When a runtime ends, the handles that were created on it are validated
/// before their next use, because sockets end with the runtime on which they were opened. So tests with a runtime each
/// can share a static pool. To notice it, the pool has a task on each runtime on which it has created a handle or run
/// its janitor, until it is closed.
///
/// A caller outside of any runtime, or on one without timers, cannot wait. If it has to, it gets an error for which
/// [`is_runtime`](Error::is_runtime) returns `true`. A creation that failed for this reason says nothing about the
/// backend: the breaker does not count it, and the other callers begin again.
///
/// The janitor is a task that retires idle and old handles, looking every 100 ms, and creates new ones. The first
/// check-out starts it. It does not keep a dropped pool alive, and ends when there is nothing to do. If its runtime is
/// not driven for a second, the next check-out starts another one. Whether a handle has been idle for too long does not
/// depend on it: each check-out reads the clock.
///
/// # Drop
///
/// Dropping the pool releases the idle handles in the background. Handles that are checked out are released when they
/// are returned. [`close`](Pool::close) does the same and waits for the end.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Pool, Scopes, resource_fn};
/// use std::{convert::Infallible, sync::Arc, time::Duration};
///
/// let lists = resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) });
/// let pool = Arc::new(Pool::builder().max_size(10).acquire_timeout(Duration::from_secs(5)).build(lists));
///
/// // In a request:
/// # let scopes = Scopes::new();
/// let scope = scopes.open();
/// scope.lazy(&pool).get().await.unwrap().push("first"); // Checks a list out.
/// scope.lazy(&pool).get().await.unwrap().push("second"); // The same list.
/// scope.close(Exit::Completed).await.unwrap(); // Returns it to the pool.
///
/// // Without a scope:
/// let list = pool.get().await.unwrap();
/// assert_eq!(*list, ["first", "second"]);
/// pool.put(list);
/// # });
/// ```
pub struct Pool<R: Resource> {
    inner: Arc<Inner<R>>,
    /// Shared by the clones. Closes the pool when the last one drops it.
    closes: Arc<dyn Send + Sync>,
}

impl<R: Resource> Pool<R> {
    /// Creates a builder with the defaults.
    pub fn builder() -> PoolBuilder<R> {
        PoolBuilder::new()
    }

    /// Creates a pool with the defaults: at most 10 handles.
    ///
    /// # Panics
    ///
    /// Same as [`PoolBuilder::build`].
    #[track_caller]
    pub fn new(resource: R) -> Self {
        Pool::builder().build(resource)
    }

    /// Takes a handle out of the pool.
    ///
    /// Prefers the idle handle that was used last. If there is none, waits for a returned handle or a new one,
    /// whichever comes first.
    ///
    /// # Errors
    ///
    /// - [`is_timeout`](Error::is_timeout) after the acquire timeout (30 s), which bounds waiting, creation and
    ///   validation together
    /// - [`is_unavailable`](Error::is_unavailable) at once, with the cause, while the backend is down
    /// - [`is_exhausted`](Error::is_exhausted) at once, if too many callers wait already
    /// - [`is_closed`](Error::is_closed) after [`close`](Pool::close)
    /// - [`is_runtime`](Error::is_runtime) if the future has to wait and there is no tokio runtime with timers
    ///
    /// [`shortage`](Error::shortage) returns the figures: how many handles are in use, which line took the one that has
    /// been held longest, and why the last creation failed.
    ///
    /// # Deadlock
    ///
    /// A caller that holds a handle and waits for a second one can wait for itself, until the timeout passes. Pass the
    /// first handle on by reference instead.
    ///
    /// The future consumes the budget of tokio's cooperation, so a task that finds idle handles again and again lets
    /// other tasks run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses its place in the queue: a granted handle goes to the next waiter, and a creation that
    /// the future has started continues for the pool. A handle that is being validated for the future is retired,
    /// because the answer to the validation may still be on its way.
    #[track_caller]
    #[inline]
    pub fn get(&self) -> impl Future<Output = Result<Pooled<R>, Error<R::Cause>>> + Send + use<R> {
        self.get_timeout(self.inner.config.acquire_timeout)
    }

    /// Takes a handle out of the pool as [`get`](Pool::get) does, with a timeout of this call's own instead of the
    /// acquire timeout.
    ///
    /// # Errors
    ///
    /// The same as those of [`get`](Pool::get).
    ///
    /// # Cancel safety
    ///
    /// The same as that of [`get`](Pool::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, resource_fn};
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// let pool = Pool::builder().max_size(1).build(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// let only = pool.get().await.unwrap();
    /// let error = pool.get_timeout(Duration::from_millis(10)).await.unwrap_err();
    /// assert!(error.is_timeout());
    /// # drop(only);
    /// # });
    /// ```
    #[track_caller]
    #[inline]
    pub fn get_timeout(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<Pooled<R>, Error<R::Cause>>> + Send + use<R> {
        checkout::get(Arc::clone(&self.inner), Location::caller(), timeout)
    }

    /// Takes a handle out of the pool without waiting: if one is idle and needs no validation, and no caller waits.
    ///
    /// If the next handle needs a validation, this begins it in a task and returns `None`, so that a later call can take
    /// the handle.
    #[track_caller]
    #[inline]
    pub fn try_get(&self) -> Option<Pooled<R>> {
        let taken = self.inner.take_proved(Location::caller());
        // It goes to the end of the idle ones, from which the next call takes it.
        if taken.is_none()
            && Runtime::try_current().is_ok()
            && self.inner.state.lock().slots.busy(Work::Validating) == 0
        {
            self.inner.validate_idle(1, |_| true);
        }
        taken
    }

    /// Puts a handle back after a use that ended in an orderly way. The caller that has waited longest gets it.
    ///
    /// A drop does the same, but says nothing about the end of the use: see [`Pooled`]. So `put` saves a validation where
    /// the resource reports [`Ready`](Health::Ready). If the use was cut or the state of the handle is unknown, drop it.
    #[inline]
    pub fn put(&self, pooled: Pooled<R>) {
        pooled.into_parts().give_back(Some(Exit::Completed));
    }

    /// Releases a handle instead of returning it, and frees its slot when that has ended.
    ///
    /// For a handle whose user has found it broken in a way that [`probe`](Resource::probe) cannot see.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// pool.discard(pool.get().await.unwrap());
    /// assert_eq!(pool.status().idle, 0);
    /// # });
    /// ```
    pub fn discard(&self, pooled: Pooled<R>) {
        let Parts { pool, slot, handle } = pooled.into_parts();
        pool.state.lock().uses += 1;
        pool.retire(slot, handle, None, Exit::Completed);
    }

    /// Returns the resource of which the pool holds handles.
    pub fn get_ref(&self) -> &R {
        &self.inner.resource
    }

    /// Changes the maximum number of handles.
    ///
    /// Surplus idle handles are released at once, the longest idle first, and surplus lent handles when they are
    /// returned.
    ///
    /// # Panics
    ///
    /// If `max_size` is 0. Use [`pause`](Pool::pause) instead.
    pub fn resize(&self, max_size: usize) {
        assert!(max_size > 0, "the size of a pool must be at least 1");
        let surplus = self.inner.state.lock().slots.resize(max_size);
        self.inner.retire_all(surplus);
        self.inner.start_creations();
    }

    /// Releases all handles: the idle ones at once, the others when they are returned.
    ///
    /// Use this after a fail-over or a change of the password: all later check-outs get new handles. A handle that is
    /// being created meanwhile serves the caller that waits for it, and is then released, so that a `clear` that is
    /// repeated faster than a connect takes does not starve the callers. To spread the reconnects, use
    /// [`replace_all`](Pool::replace_all).
    pub fn clear(&self) {
        let mut state = self.inner.state.lock();
        state.clears = state.clears.wrapping_add(1);
        let idle = state.slots.claim(Work::Ending, |_, _| true);
        state.slots.metadata().for_each(|meta| meta.expires = Moment::ZERO);
        drop(state);
        self.inner.retire_all(idle);
    }

    /// Replaces all handles, one after the other within `over`. The old ones serve until then.
    ///
    /// Use this if a better server has become available, or before a credential expires: unlike [`clear`](Pool::clear),
    /// it does not make all callers reconnect at the same time. On a runtime that is not driven, a handle that is due is
    /// replaced when it is returned.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, resource_fn};
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// pool.warm().await.unwrap();
    /// pool.replace_all(Duration::from_secs(60));
    /// assert_eq!(pool.status().idle, 1); // For up to a minute.
    /// # });
    /// ```
    pub fn replace_all(&self, over: Duration) {
        let mut state = self.inner.state.lock();
        let now = state.clock.now();
        state.clears = state.clears.wrapping_add(1);
        let count = u32::try_from(state.slots.metadata().count()).unwrap_or(u32::MAX);
        for (meta, place) in state.slots.metadata().zip(1..) {
            meta.expires = meta.expires.min(now.after(over / count * place));
        }
    }

    /// Creates handles until [`min_idle`](PoolBuilder::min_idle) of them are idle, and at least one, or every slot is in
    /// use, and waits for that.
    ///
    /// Without it the first check-out creates its own handle, and the others are created in the background. Use this at
    /// the start of a program, to find a wrong password before the first request.
    ///
    /// While the pool is paused it creates nothing and returns `Ok`.
    ///
    /// # Errors
    ///
    /// - [`is_unavailable`](Error::is_unavailable), with the cause, if a creation fails
    /// - [`is_timeout`](Error::is_timeout) after the acquire timeout; the creations continue
    /// - [`is_closed`](Error::is_closed) after [`close`](Pool::close)
    /// - [`is_runtime`](Error::is_runtime) if the future has to wait and there is no tokio runtime with timers
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the creations continue for the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let pool = Pool::builder().min_idle(2).build(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// pool.warm().await.unwrap();
    /// assert_eq!(pool.status().idle, 2);
    /// # });
    /// ```
    pub fn warm(&self) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send + use<R> {
        Arc::clone(&self.inner).warm()
    }

    /// Releases the idle handles for which `keep` returns `false`, and returns their number.
    ///
    /// The handles are checked outside of every lock, a tenth of them at a time and at least one, the longest idle first:
    /// the others can be taken meanwhile, and `keep` may call the pool. `keep` is not called for handles that are checked out.
    ///
    /// If `keep` panics, the handle is released, because its state is unknown, and the next one is checked. The panic
    /// is not passed on.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let buffers = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::<u8>::new()) }));
    /// let mut buffer = buffers.get().await.unwrap();
    /// buffer.reserve(1 << 20);
    /// buffers.put(buffer);
    ///
    /// // Under memory pressure:
    /// assert_eq!(buffers.retain(|buffer| buffer.capacity() < 4096), 1);
    /// # });
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&R::Handle) -> bool) -> usize {
        let slots = self.inner.state.lock().slots.idle_slots();
        let mut retired = 0;
        // A tenth of them at a time, so that the others can be taken meanwhile. Each goes back to the end, so the order
        // stays the same.
        for some in slots.chunks(slots.len().div_ceil(10).max(1)) {
            let some: HashSet<_> = some.iter().collect();
            let claimed = self.inner.state.lock().slots.claim(Work::Validating, |slot, _| some.contains(&slot));
            for (slot, handle) in claimed {
                // A panic of the predicate rejects the handle.
                let keeps = catch::call(|| keep(&handle)).unwrap_or(false);
                self.inner.put_unused(slot, handle, |_| keeps);
                retired += usize::from(!keeps);
            }
        }
        retired
    }

    /// Stops lending handles until [`resume`](Pool::resume). Callers wait meanwhile.
    pub fn pause(&self) {
        self.inner.state.lock().slots.pause();
    }

    /// Resumes lending after [`pause`](Pool::pause).
    pub fn resume(&self) {
        let wakers = self.inner.state.lock().slots.resume();
        catch::wake_all(wakers);
    }

    /// Closes the pool, and returns a future that waits until all handles are released, at most for the timeout.
    ///
    /// The call itself closes: idle handles are released, and callers that wait or come later get
    /// [closed](Error::is_closed). Lent handles are released when they are returned.
    ///
    /// # Cancel safety
    ///
    /// The future only waits. Dropping it does not undo the close.
    pub fn close(&self, timeout: Duration) -> impl Future<Output = DrainReport> + Send + use<R> {
        self.inner.close();
        self.inner.reaper.drain(timeout)
    }

    /// Returns what the pool holds now, and what it has done so far.
    pub fn status(&self) -> PoolStatus {
        self.inner.status()
    }

    /// Returns an entry for each handle that is checked out, the longest use first. Handles that the pool itself is
    /// validating are not included.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// let handle = pool.get().await.unwrap(); // This line.
    /// for holder in pool.holders() {
    ///     eprintln!("for {:?}, taken at {}", holder.held, holder.taken_at);
    /// }
    /// # assert_eq!(pool.holders()[0].taken_at.line(), line!() - 4);
    /// # pool.put(handle);
    /// # });
    /// ```
    pub fn holders(&self) -> Vec<Holding> {
        self.inner.holders(|_| true).into_iter().map(|(holder, held)| holder.holding(held)).collect()
    }

    /// Returns whether [`close`](Pool::close) was called.
    pub fn is_closed(&self) -> bool {
        self.inner.state.lock().slots.is_closed()
    }
}

impl<R: Resource> PoolBuilder<R> {
    /// Builds the pool. It creates no handle before the first check-out or [`warm`](Pool::warm).
    ///
    /// A handle that the pool creates for [`min_idle`](PoolBuilder::min_idle), and for no caller, is reported to the
    /// observer as taken at the line of this call.
    ///
    /// # Panics
    ///
    /// If the handles of `resource` must [end with their request](Resource::ends_with_request), as transactions must. A
    /// pool would pass the transaction of one request on to the next one, and never commit it. Put the pool inside, as in
    /// `Transaction<Pool<Sqlite>>`.
    #[track_caller]
    pub fn build(self, resource: R) -> Pool<R> {
        stack::assert_poolable(&resource);
        let (mut config, reaper) = self.into_parts();
        config.reset.get_or_insert_with(|| catch::call(|| resource.reset()).unwrap_or(Reset::Always));
        let inner = Arc::new(Inner::new(config, reaper, resource, Location::caller()));
        let closed = Arc::clone(&inner);
        Pool { inner, closes: Arc::new(Defer(move || closed.close())) }
    }
}

impl<R: Resource> Resource for Pool<R> {
    type Handle = Pooled<R>;
    type Cause = R::Cause;

    #[track_caller]
    fn acquire(&self) -> impl Future<Output = Result<Pooled<R>, Error<R::Cause>>> + Send {
        self.get()
    }

    async fn validate(&self, pooled: &mut Pooled<R>) -> Result<(), Error<R::Cause>> {
        self.inner.resource.validate(pooled).await
    }

    async fn release(&self, pooled: Pooled<R>, exit: Exit) -> Result<(), Error<R::Cause>> {
        if let Err(in_doubt) = pooled.into_parts().reclaim(Some(exit)) {
            // Dropping this future at any point retires the handle.
            Unproved::used(in_doubt, Some(exit)).validate_and_put().await;
        }
        Ok(())
    }

    #[track_caller]
    #[inline]
    fn try_acquire(&self) -> Option<Pooled<R>> {
        self.inner.take_proved(Location::caller())
    }

    #[inline]
    fn probe(&self, pooled: &Pooled<R>) -> Health {
        self.inner.resource.probe(pooled)
    }

    #[inline]
    fn reclaim(&self, pooled: Pooled<R>, exit: Exit) -> Result<(), Pooled<R>> {
        pooled.into_parts().reclaim(Some(exit)).map_err(Pooled::new)
    }

    fn reset(&self) -> Reset {
        self.inner.config.reset.unwrap_or_default()
    }

    fn fault(&self, pooled: &Pooled<R>) -> Option<Error<R::Cause>> {
        self.inner.resource.fault(pooled)
    }

    #[inline]
    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(&*self.inner))
    }
}

/// A clone is the same pool: a request-scoped cell over any of them has one handle. The last one closes the pool when it
/// is dropped; handles that are checked out do not keep it open.
impl<R: Resource> Clone for Pool<R> {
    fn clone(&self) -> Self {
        Pool { inner: Arc::clone(&self.inner), closes: Arc::clone(&self.closes) }
    }
}

impl<R: Resource> fmt::Debug for Pool<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.status()).finish_non_exhaustive()
    }
}
