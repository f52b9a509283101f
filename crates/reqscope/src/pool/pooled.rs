use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::config::Reset;
use super::inner::Inner;
use super::validate::Doubtful;
use crate::exit::Exit;
use crate::lease::probe_or_dead;
use crate::resource::{Health, Resource};

/// An object of a [`Pool`](super::Pool), for one user.
///
/// It derefs to the handle of the resource inside. It goes back by [`Pool::put`](super::Pool::put), or, held by a
/// scope or a lease, with the verdict of those. Dropping it is a verdict too: nobody knows in what state its user
/// left it, so the pool proves it before anybody else gets it (law L14), or ends it.
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
/// assert_eq!(*pool.get().await.unwrap(), ["first"]); // the same list
/// # });
/// ```
#[must_use = "an object that is dropped must be proved before anybody else gets it"]
pub struct Pooled<R: Resource> {
    /// `None` only after it was taken apart.
    parts: Option<Parts<R>>,
}

/// Whoever takes them sees to the slot.
pub(super) struct Parts<R: Resource> {
    pub(super) pool: Arc<Inner<R>>,
    pub(super) slot: u32,
    pub(super) handle: R::Handle,
}

impl<R: Resource> Parts<R> {
    /// To be proved in the background.
    #[cold]
    fn hand_over(self) {
        Doubtful::new(self.pool, self.slot, self.handle).hand_over();
    }
}

const WHOLE: &str = "only what consumes it takes it apart";

impl<R: Resource> Pooled<R> {
    #[inline]
    pub(super) fn new(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle) -> Self {
        Pooled { parts: Some(Parts { pool, slot, handle }) }
    }

    pub(super) fn pool(&self) -> &Arc<Inner<R>> {
        &self.parts.as_ref().expect(WHOLE).pool
    }

    /// What a look at it says.
    #[inline]
    pub(super) fn health(&self) -> Health {
        probe_or_dead(&*self.pool().resource, self)
    }

    #[inline]
    pub(super) fn into_parts(mut self) -> Parts<R> {
        self.parts.take().expect(WHOLE)
    }
}

impl<R: Resource> Deref for Pooled<R> {
    type Target = R::Handle;

    fn deref(&self) -> &R::Handle {
        &self.parts.as_ref().expect(WHOLE).handle
    }
}

impl<R: Resource> DerefMut for Pooled<R> {
    fn deref_mut(&mut self) -> &mut R::Handle {
        &mut self.parts.as_mut().expect(WHOLE).handle
    }
}

/// As far as the handle inside does it: a wrapper that asks for `AsMut` of a connection takes it pooled or bare.
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
            parts.hand_over();
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
    /// Back at once, if its use ended in order and nobody asked for more. One that does not look ready is proved on
    /// its way: among the idle ones it could hold a lock, and whoever takes it next would have to wait for the proof.
    #[inline]
    pub(super) fn reclaim(pooled: Pooled<R>, exit: Exit) -> Result<(), Pooled<R>> {
        let pool = pooled.pool();
        if exit.is_in_doubt() || pool.config.reset == Reset::Always {
            return Err(pooled);
        }
        match probe_or_dead(&*pool.resource, &pooled) {
            Health::Ready => {
                let Parts { pool, slot, handle } = pooled.into_parts();
                pool.put(slot, handle);
                Ok(())
            }
            Health::Unknown => {
                // Its drop does that.
                drop(pooled);
                Ok(())
            }
            _ => Err(pooled),
        }
    }

    /// Back after a proof.
    pub(super) async fn release(pooled: Pooled<R>, exit: Exit) {
        let Parts { pool, slot, handle } = pooled.into_parts();
        // If this is dropped, at any point, the object ends.
        let doubtful = Doubtful::new(pool, slot, handle);
        doubtful.prove(exit).await;
    }
}
