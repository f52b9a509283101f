use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::lease::Lease;
use crate::resource::Resource;
use crate::scope::slot::Slot;

/// The request's handle, on loan from its [`Lazy`](crate::Lazy) cell.
///
/// It derefs to the handle and is exclusive: while it is out, other `get`s of the same request wait. Dropping it
/// gives the handle back to the cell, not to the resource; that happens once, when the scope closes.
///
/// A loan has no verdict of its own, but two endings are taken as a sign that the work is not whole, and make the
/// scope's verdict at least [`Exit::Failed`](crate::Exit::Failed): dropped while unwinding (a panic that somebody
/// catches later), and dropped over a handle whose [`probe`](Resource::probe) then says `Dead` (an operation cut by
/// a timeout inside the handler). Neither may end in a COMMIT of half the work.
///
/// A guard that outlives its scope keeps the handle; it is released, as cancelled, when the guard drops (law L8).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Error, Exit, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
/// # let scope = Scopes::new().open();
/// let lists = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
/// let lazy = scope.lazy(&lists);
///
/// lazy.get().await.unwrap().push(1); // the guard drops here
/// let guard = lazy.get().await.unwrap();
/// assert_eq!(*guard, [1]); // the same handle
/// # drop(guard);
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
///
/// The handle cannot leave through it, only with [`Guard::detach`]:
///
/// ```compile_fail,E0507
/// # use reqscope::{Guard, Resource};
/// fn steal<R: Resource>(guard: Guard<R>) -> R::Handle {
///     *guard
/// }
/// ```
#[must_use = "a guard that is dropped at once has only acquired the handle"]
pub struct Guard<R: Resource> {
    /// `None` only in `drop` and after `detach`.
    handle: Option<R::Handle>,
    slot: Arc<Slot<R>>,
}

impl<R: Resource> Guard<R> {
    pub(crate) fn new(handle: R::Handle, slot: Arc<Slot<R>>) -> Self {
        Guard { handle: Some(handle), slot }
    }

    /// Takes the handle out of the request: a streamed body, a WebSocket, a background job.
    ///
    /// The scope no longer knows of it; whoever holds the lease says how it ends. The next `get` of the request
    /// acquires another one.
    ///
    /// Too late after the scope was closed: the lease is released as cancelled then, whatever its holder says, since
    /// the scope has answered for it already (law L9).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Exit, Guard, Lease, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let scopes = Scopes::new();
    /// # let scope = scopes.open();
    /// # let files = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// let lease = Guard::detach(scope.lazy(&files).get().await.unwrap());
    /// scope.close(Exit::Completed).await.unwrap();
    /// assert_eq!(scopes.stats().live, 1); // it lives on
    /// Lease::complete(lease).await.unwrap();
    /// # });
    /// ```
    pub fn detach(mut guard: Self) -> Lease<R> {
        let handle = guard.handle.take().expect(LENT);
        guard.slot.detach(handle)
    }
}

const LENT: &str = "a guard holds its handle until it is consumed";

impl<R: Resource> Deref for Guard<R> {
    type Target = R::Handle;

    fn deref(&self) -> &R::Handle {
        self.handle.as_ref().expect(LENT)
    }
}

impl<R: Resource> DerefMut for Guard<R> {
    fn deref_mut(&mut self) -> &mut R::Handle {
        self.handle.as_mut().expect(LENT)
    }
}

impl<R: Resource> Drop for Guard<R> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.slot.give_back(handle);
        }
    }
}

impl<R: Resource> fmt::Debug for Guard<R>
where
    R::Handle: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&**self).finish()
    }
}
