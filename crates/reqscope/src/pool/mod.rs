//! Pools: a bounded set of handles that are used again.

// In the order of the floors.
mod config;
mod waiters;
mod slots;
mod breaker;
mod clock;
mod inner;
mod create;
mod validate;
mod pooled;
mod janitor;
mod attendant;
pub(crate) mod checkout;
mod status;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use config::{PoolBuilder, Reset};
pub use pooled::Pooled;
pub use status::PoolStatus;

use self::checkout::PoolGet;
use self::clock::Tick;
use self::inner::Inner;
use crate::error::{Error, Holding};
use crate::exit::Exit;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::stats::DrainReport;

/// A bounded set of handles of one resource, used again and again.
///
/// It is a [`Resource`] itself: a request-scoped cell over `Arc<Pool<R>>` takes one object out per request, however often
/// the request asks. By hand take one with [`get`](Pool::get) and give it back with [`put`](Pool::put).
///
/// - Who finds nothing idle waits, first come first served, for at most the acquire timeout (30 s). What comes back
///   goes into the hands of the one who has waited for longest; if that one leaves, to the next (law L17).
/// - A creation belongs to the pool. Whoever caused it may leave: what it brings serves the next one.
/// - An object whose use was cut, or that was dropped without a word, is [validated](Resource::validate) before anybody
///   else gets it, and released if that fails (law L14). Its slot is held until then (law L13).
/// - The first object found dead sends all that are idle to be validated, side by side: a dead backend costs one
///   timeout and not one for each.
/// - While the backend is down, callers fail at once with the cause, and one creation every 15 to 25 ms looks whether
///   it is back; further apart, up to 1 s, if the failures are slow or [permanent](Error::is_permanent) (law L18).
///
/// # Runtimes
///
/// A creation, a proof and the janitor run on the runtime of the caller that caused them. If that runtime ends, their
/// slots come back, and whoever waits on another one begins again. So a static pool serves one test's runtime after
/// the other, as far as the handles themselves do.
///
/// The janitor is a task that looks after the pool every 100 ms: what is idle, too old or too few. The first check-out puts
/// it to work; it keeps no dropped pool alive, and goes home when there is nothing to look after. On a current-thread
/// runtime that lives on without being driven it stands still, and with it the pool's ages.
///
/// # Drop
///
/// Dropping the pool releases what is idle, in the background. Objects that are out are released when they come
/// back. [`close`](Pool::close) does the same and waits for the end.
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
/// scope.lazy(&pool).get().await.unwrap().push("first"); // checked out
/// scope.lazy(&pool).get().await.unwrap().push("second"); // the same list
/// scope.close(Exit::Completed).await.unwrap(); // back in the pool
///
/// // By hand:
/// let list = pool.get().await.unwrap();
/// assert_eq!(*list, ["first", "second"]);
/// pool.put(list);
/// # });
/// ```
pub struct Pool<R: Resource> {
    inner: Arc<Inner<R>>,
}

impl<R: Resource> Pool<R> {
    /// Begins with the defaults, each of which says its reason.
    pub fn builder() -> PoolBuilder<R> {
        PoolBuilder::new()
    }

    /// A pool with all defaults: at most 10 objects.
    pub fn new(resource: R) -> Self {
        Pool::builder().build(resource)
    }

    /// Takes an object out: what was used last, else what somebody gives back or a new one, whichever comes first.
    ///
    /// # Errors
    ///
    /// - [`is_timeout`](Error::is_timeout) after the acquire timeout (30 s), which bounds waiting, creation and proof
    ///   together
    /// - [`is_unavailable`](Error::is_unavailable) at once, with the cause, while the backend is down
    /// - [`is_exhausted`](Error::is_exhausted) at once, if too many wait already
    /// - [`is_closed`](Error::is_closed) after [`close`](Pool::close)
    /// - an error that names it, if it has to wait and there is no tokio runtime, or one without timers
    ///
    /// [`shortage`](Error::shortage) has the figures: who holds what since when, and how the last creation failed.
    ///
    /// # Deadlock
    ///
    /// Who holds one object and waits for a second can wait for itself, until the timeout. Lend the first one down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses its place in the line, and the object that is just being proved for it: that one ends,
    /// as the answer to the proof may still be on its way.
    #[track_caller]
    #[inline]
    pub fn get(&self) -> PoolGet<R> {
        PoolGet::new(&self.inner, Location::caller())
    }

    /// Takes an object out if one is idle that needs no proof, and nobody waits.
    #[track_caller]
    #[inline]
    pub fn try_get(&self) -> Option<Pooled<R>> {
        let (slot, handle) = self.inner.take_now(Location::caller())?;
        Some(Pooled::new(Arc::clone(&self.inner), slot, handle))
    }

    /// Gives an object back whose use ended in order. Whoever waits for longest gets it.
    ///
    /// To give one back that is not in order, drop it: it is proved before anybody else gets it.
    #[inline]
    pub fn put(&self, pooled: Pooled<R>) {
        if let Err(doubtful) = Inner::reclaim(pooled, Exit::Completed) {
            drop(doubtful);
        }
    }

    /// Changes how many objects there may be. What is idle and too many is released at once, the longest idle first; what
    /// is out and too many, when it comes back.
    ///
    /// # Panics
    ///
    /// If `max_size` is 0: [`pause`](Pool::pause) is meant for that.
    pub fn resize(&self, max_size: usize) {
        assert!(max_size > 0, "a pool without slots serves nobody");
        let surplus = self.inner.state.lock().slots.resize(max_size);
        self.inner.retire_all(surplus);
        self.inner.feed();
    }

    /// Releases all objects: those that are idle at once, the others when they come back. What comes after is new.
    ///
    /// For a fail-over, or after the password was changed.
    pub fn clear(&self) {
        let mut state = self.inner.state.lock();
        state.clears = state.clears.wrapping_add(1);
        let all = state.slots.clear(|stub| stub.expires = Tick::ZERO);
        drop(state);
        self.inner.retire_all(all);
    }

    /// Creates objects until [`min_idle`](PoolBuilder::min_idle) of them are idle, or there is no slot for more, and waits
    /// for that. Without it the first check-out makes its own, and the others come in the background.
    ///
    /// For the start of a program: a wrong password is found before the first request.
    ///
    /// While the pool is paused it creates nothing, and says `Ok`.
    ///
    /// # Errors
    ///
    /// - [`is_unavailable`](Error::is_unavailable), with the cause, if a creation fails
    /// - [`is_timeout`](Error::is_timeout) after the acquire timeout; the creations go on
    /// - [`is_closed`](Error::is_closed) after [`close`](Pool::close)
    /// - an error that names it, if there is no tokio runtime, or one without timers
    ///
    /// # Cancel safety
    ///
    /// The future only waits. Dropped, the creations go on for the pool.
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
        let inner = Arc::clone(&self.inner);
        async move { inner.warm().await }
    }

    /// Releases the idle objects that do not please. Returns how many those are.
    ///
    /// They are looked at one by one, the longest idle first, outside of every lock: the others can be had meanwhile, and
    /// `pleases` may ask the pool itself. It is not asked of those that are out.
    ///
    /// If it panics over an object, that one is released, as nobody knows what was wrong with it, and the next one is
    /// looked at. The panic goes no further.
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
    pub fn retain(&self, pleases: impl FnMut(&R::Handle) -> bool) -> usize {
        self.inner.retain(pleases)
    }

    /// Lends nothing until [`resume`](Pool::resume); who asks waits.
    pub fn pause(&self) {
        self.inner.state.lock().slots.pause();
    }

    /// Goes on after [`pause`](Pool::pause).
    pub fn resume(&self) {
        let wakers = self.inner.state.lock().slots.resume();
        catch::wake_all(wakers);
    }

    /// Ends the pool, as soon as it is called: nobody gets anything any more, and what is idle is released. The future
    /// waits for what is out, and for all releases, at most for the timeout.
    ///
    /// # Cancel safety
    ///
    /// The future only waits. Dropped, it takes nothing back.
    pub fn close(&self, timeout: Duration) -> impl Future<Output = DrainReport> + Send + use<R> {
        self.inner.close();
        self.inner.reaper.drain(timeout)
    }

    /// What the pool holds now, and what it has done so far.
    pub fn status(&self) -> PoolStatus {
        self.inner.status()
    }

    /// Who has an object now, those who have had theirs for longest first. The times are ±100 ms. Objects that the pool
    /// itself has, to prove them, are not among them.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// let object = pool.get().await.unwrap(); // this line
    /// for holder in pool.holders() {
    ///     eprintln!("for {:?}, taken at {}", holder.held, holder.taken_at);
    /// }
    /// # assert_eq!(pool.holders()[0].taken_at.line(), line!() - 4);
    /// # pool.put(object);
    /// # });
    /// ```
    pub fn holders(&self) -> Vec<Holding> {
        self.inner.holders()
    }

    /// Whether [`close`](Pool::close) was called.
    pub fn is_closed(&self) -> bool {
        self.inner.state.lock().slots.is_closed()
    }
}

impl<R: Resource> PoolBuilder<R> {
    /// The pool. It makes nothing before somebody asks (law L2).
    pub fn build(self, resource: R) -> Pool<R> {
        let (config, reaper) = self.into_parts();
        Pool { inner: Arc::new(Inner::new(config, reaper, resource)) }
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
        if let Err(doubtful) = Inner::reclaim(pooled, exit) {
            Inner::release(doubtful, exit).await;
        }
        Ok(())
    }

    #[track_caller]
    #[inline]
    fn try_acquire(&self) -> Option<Pooled<R>> {
        self.try_get()
    }

    #[inline]
    fn probe(&self, pooled: &Pooled<R>) -> Health {
        self.inner.resource.probe(pooled)
    }

    #[inline]
    fn reclaim(&self, pooled: Pooled<R>, exit: Exit) -> Result<(), Pooled<R>> {
        Inner::reclaim(pooled, exit)
    }
}

impl<R: Resource> Drop for Pool<R> {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl<R: Resource> fmt::Debug for Pool<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("status", &self.status()).finish_non_exhaustive()
    }
}
