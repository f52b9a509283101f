use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::inner::Inner;
use super::validate::Unvalidated;
use crate::exit::Exit;
use crate::lease::{Caller, probe_or_dead};
use crate::resource::{Health, Reset, Resource};

/// A handle that is checked out of a [`Pool`](super::Pool).
///
/// It derefs to the handle of the resource. Return it with [`Pool::put`](super::Pool::put). A handle that is held by a
/// scope or a lease is returned by the scope or the lease, with its exit. A handle that is dropped may be in any state,
/// so the pool validates it before its next use, or retires it.
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
#[must_use = "a handle that is dropped must be validated before its next use"]
pub struct Pooled<R: Resource> {
    /// `None` only after the parts were taken.
    parts: Option<Parts<R>>,
}

/// The parts of a `Pooled`. Their owner is responsible for the slot.
pub(super) struct Parts<R: Resource> {
    pub(super) pool: Arc<Inner<R>>,
    pub(super) slot: u32,
    pub(super) handle: R::Handle,
}

impl<R: Resource> Parts<R> {
    /// Validates the handle in the background.
    #[cold]
    fn validate_in_background(self, caller: Caller) {
        Unvalidated::new(self.pool, self.slot, self.handle).validate_in_background(caller);
    }
}

const NOT_TAKEN: &str = "only methods that consume the handle take its parts";

impl<R: Resource> Pooled<R> {
    #[inline]
    pub(super) fn new(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle) -> Self {
        Pooled { parts: Some(Parts { pool, slot, handle }) }
    }

    pub(super) fn pool(&self) -> &Arc<Inner<R>> {
        &self.parts.as_ref().expect(NOT_TAKEN).pool
    }

    /// Probes the handle. A panic counts as dead.
    #[inline]
    pub(super) fn health(&self) -> Health {
        probe_or_dead(&*self.pool().resource, self)
    }

    #[inline]
    pub(super) fn into_parts(mut self) -> Parts<R> {
        self.parts.take().expect(NOT_TAKEN)
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
impl<R: Resource, T: ?Sized> AsRef<T> for Pooled<R>
where
    R::Handle: AsRef<T>,
{
    fn as_ref(&self) -> &T {
        (**self).as_ref()
    }
}

impl<R: Resource, T: ?Sized> AsMut<T> for Pooled<R>
where
    R::Handle: AsMut<T>,
{
    fn as_mut(&mut self) -> &mut T {
        (**self).as_mut()
    }
}

impl<R: Resource> Drop for Pooled<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.validate_in_background(Caller::Drop);
        }
    }
}

impl<R: Resource> fmt::Debug for Pooled<R>
where
    R::Handle: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}

impl<R: Resource> Inner<R> {
    /// Returns the handle to the pool at once, if its use ended in an orderly way and [`Reset`] requires no validation.
    ///
    /// A handle that is not ready is validated before it becomes idle: it could hold a lock, and its next user would
    /// have to wait for the validation. That is a release, and not done here, because this is called from drops.
    #[inline(always)]
    pub(super) fn reclaim(pooled: Pooled<R>, exit: Exit) -> Result<(), Pooled<R>> {
        let pool = pooled.pool();
        if exit.is_in_doubt() || pool.config.reset == Some(Reset::Always) {
            return Err(pooled);
        }
        if !matches!(probe_or_dead(&*pool.resource, &pooled), Health::Clean | Health::Ready) {
            return Err(pooled);
        }
        let Parts { pool, slot, handle } = pooled.into_parts();
        pool.put(slot, handle);
        Ok(())
    }

    /// Returns the handle to the pool after a use that ended in an orderly way.
    #[inline]
    pub(super) fn put_checked_out(pooled: Pooled<R>) {
        if let Err(unvalidated) = Self::reclaim(pooled, Exit::Completed) {
            unvalidated.into_parts().validate_in_background(Caller::Code);
        }
    }

    /// Returns the handle to the pool after a validation.
    pub(super) async fn release(pooled: Pooled<R>, exit: Exit) {
        let Parts { pool, slot, handle } = pooled.into_parts();
        // Dropping this future at any point retires the handle.
        let unvalidated = Unvalidated::new(pool, slot, handle);
        unvalidated.validate(exit).await;
    }
}
