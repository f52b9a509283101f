use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::inner::{HandleMeta, NOT_TAKEN, Parts};
use super::validate::Unproved;
use crate::exit::Exit;
use crate::lease::{Lease, probe_or_dead};
use crate::resource::{Health, Reset, Resource};
use crate::rt::clock::Moment;

/// A handle that is checked out of a [`Pool`](super::Pool).
///
/// It derefs to the handle of the resource. Dropping it returns it to the pool. How a use ended is then unknown, so the
/// pool decides by what [`probe`](Resource::probe) reports:
///
/// | health    | dropped                                            | [put](super::Pool::put)                |
/// |-----------|----------------------------------------------------|----------------------------------------|
/// | `Clean`   | idle                                               | idle                                   |
/// | `Ready`   | idle, and validated by the check-out that takes it | idle                                   |
/// | `Unknown` | idle, and validated by the check-out that takes it | the same                               |
/// | `Dirty`   | validated at once, in a task                       | validated at once, in a task           |
/// | `Dead`    | released                                           | released                               |
///
/// A handle that is dropped while the thread unwinds from a panic is validated at once, in a task, and so is each one
/// with [`Reset::Always`]. A handle that is held by a scope or a lease is returned by the scope or the lease, with its
/// exit: as by `put`, unless the use was cancelled or has panicked.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Pool, resource_fn};
/// # use std::convert::Infallible;
///
/// let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
/// let mut list = pool.get().await.unwrap();
/// list.push("first");
/// pool.put(list);
/// assert_eq!(*pool.get().await.unwrap(), ["first"]); // The same list.
/// # });
/// ```
#[must_use = "a handle that is not used need not be taken"]
pub struct Pooled<R: Resource> {
    /// `None` only after the parts were taken.
    parts: Option<Parts<R>>,
}

impl<R: Resource> Pooled<R> {
    #[inline]
    pub(super) fn new(parts: Parts<R>) -> Self {
        Pooled { parts: Some(parts) }
    }

    /// Takes the handle out of the pool, for as long as the caller needs it. Its slot is free at once, so the pool may
    /// create another handle in its place.
    ///
    /// The lease belongs to the reaper of the pool: [`close`](super::Pool::close) waits for it, and it is released, not
    /// returned, when it ends.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Lease, Pool, Pooled, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let pool = Pool::builder().max_size(1).build(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
    /// let number: Lease<_> = Pooled::detach(pool.get().await.unwrap());
    /// assert_eq!(pool.status().in_use, 0);
    /// let another = pool.get().await.unwrap();
    /// # pool.put(another);
    /// Lease::complete(number).await.unwrap();
    /// # });
    /// ```
    pub fn detach(pooled: Self) -> Lease<R> {
        let Parts { pool, slot, handle } = pooled.into_parts();
        let mut state = pool.state.lock();
        state.uses += 1;
        let account = state.account(slot);
        state.slots.free(slot);
        drop(state);
        pool.start_creations();
        Lease::new(handle, pool.resource.clone(), account)
    }

    /// Returns how long ago the handle was created.
    pub fn age(pooled: &Self) -> Duration {
        pooled.meta(|meta, now| now.since(meta.created))
    }

    /// Returns how many uses of the handle have ended. The present one does not count.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, Pooled, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// pool.put(pool.get().await.unwrap());
    /// let handle = pool.get().await.unwrap();
    /// assert_eq!(Pooled::uses(&handle), 1);
    /// # });
    /// ```
    pub fn uses(pooled: &Self) -> u64 {
        pooled.meta(|meta, _| u64::from(meta.uses))
    }

    fn meta<T>(&self, read: impl FnOnce(&HandleMeta<R>, Moment) -> T) -> T {
        let Parts { pool, slot, .. } = self.parts.as_ref().expect(NOT_TAKEN);
        let mut state = pool.state.lock();
        let now = state.clock.now();
        read(state.meta(*slot), now)
    }

    #[inline]
    pub(super) fn into_parts(mut self) -> Parts<R> {
        let parts = self.parts.take().expect(NOT_TAKEN);
        // There is nothing left to drop.
        mem::forget(self);
        parts
    }
}

impl<R: Resource> Deref for Pooled<R> {
    type Target = R::Handle;

    fn deref(&self) -> &R::Handle {
        &self.parts.as_ref().expect(NOT_TAKEN).handle
    }
}

impl<R: Resource> DerefMut for Pooled<R> {
    fn deref_mut(&mut self) -> &mut R::Handle {
        &mut self.parts.as_mut().expect(NOT_TAKEN).handle
    }
}

/// Forwards to the handle, so that a wrapper that needs `AsMut` of a connection accepts both.
impl<R: Resource<Handle: AsRef<T>>, T: ?Sized> AsRef<T> for Pooled<R> {
    fn as_ref(&self) -> &T {
        (**self).as_ref()
    }
}

impl<R: Resource<Handle: AsMut<T>>, T: ?Sized> AsMut<T> for Pooled<R> {
    fn as_mut(&mut self) -> &mut T {
        (**self).as_mut()
    }
}

impl<R: Resource> Drop for Pooled<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.give_back(None);
        }
    }
}

impl<R: Resource<Handle: fmt::Debug>> fmt::Debug for Pooled<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}

impl<R: Resource> Parts<R> {
    /// Returns the handle to the pool at once, unless it must be validated before anything else uses it.
    ///
    /// `verdict` is how the use ended, or `None` if that is unknown, because the handle was dropped. A handle in doubt
    /// could hold a lock, and is validated without waiting for its next user. That is a release, and not done here,
    /// because this is called from drops.
    #[inline(always)]
    pub(super) fn reclaim(self, verdict: Option<Exit>) -> Result<(), Self> {
        let proved = match probe_or_dead(&*self.pool.resource, &self.handle) {
            Health::Dead => {
                Unproved::used(self, verdict).fail();
                return Ok(());
            }
            Health::Dirty => return Err(self),
            Health::Clean => true,
            Health::Ready => verdict.is_some(),
            Health::Unknown => false,
        };
        let in_doubt = verdict.map_or_else(std::thread::panicking, Exit::is_in_doubt);
        if in_doubt || self.pool.config.reset == Some(Reset::Always) {
            return Err(self);
        }
        let Parts { pool, slot, handle } = self;
        pool.put(slot, handle, proved);
        Ok(())
    }

    /// Returns a handle that was put or dropped.
    #[inline]
    pub(super) fn give_back(self, verdict: Option<Exit>) {
        if let Err(in_doubt) = self.reclaim(verdict) {
            Unproved::used(in_doubt, verdict).validate_in_background();
        }
    }
}
