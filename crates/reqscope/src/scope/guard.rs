use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::lease::Lease;
use crate::resource::Resource;
use crate::scope::slot::Slot;

/// A loan of the request's handle, from its [`Lazy`](crate::Lazy) cell.
///
/// A guard derefs to the handle and is exclusive: while it exists, other `get`s of the same request wait. Dropping it
/// returns the handle to the cell, not to the resource: the handle is released once, when the scope closes.
///
/// A loan has no verdict of its own, but two kinds of drop make the scope's verdict at least
/// [`Exit::Failed`](crate::Exit::Failed), because the work may be incomplete and must not be committed: a drop while
/// unwinding (from a panic that is caught later), and a drop of a handle for which [`probe`](Resource::probe) returns
/// `Dead` (because a timeout inside the handler cut an operation).
///
/// A guard that outlives its scope keeps the handle, which is released as cancelled when the guard is dropped (law L8).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Error, Exit, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
/// # let scope = Scopes::new().open();
/// let lists = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
/// let lazy = scope.lazy(&lists);
///
/// lazy.get().await.unwrap().push(1); // the guard is dropped here
/// let guard = lazy.get().await.unwrap();
/// assert_eq!(*guard, [1]); // the same handle
/// # drop(guard);
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
///
/// The handle cannot be moved out of a guard, except with [`Guard::detach`]:
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

    /// Returns a guard of a part of the handle, for callers that need no more than that.
    ///
    /// Both functions have to return the same part; they are called each time the part is used. They are function
    /// pointers, so a closure must not capture anything. The handle is returned to the cell when the new guard is
    /// dropped.
    ///
    /// This is an associated function, like [`detach`](Guard::detach), because a guard derefs to its handle.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::scope::MappedGuard;
    /// use reqscope::{Error, Exit, Guard, Resource, ScopeHandle, Scopes};
    /// # use std::{convert::Infallible, sync::Arc};
    ///
    /// #[derive(Default)]
    /// struct Session {
    ///     basket: Vec<u32>,
    ///     // ...
    /// }
    /// # struct Sessions;
    /// # impl Resource for Sessions {
    /// #     type Handle = Session;
    /// #     type Cause = Infallible;
    /// #     async fn acquire(&self) -> Result<Session, Error<Infallible>> { Ok(Session::default()) }
    /// # }
    ///
    /// async fn basket(
    ///     request: &ScopeHandle,
    ///     sessions: &Arc<Sessions>,
    /// ) -> Result<MappedGuard<Sessions, Vec<u32>>, Error<Infallible>> {
    ///     let session = request.lazy(sessions).get().await?;
    ///     Ok(Guard::map(session, |session| &session.basket, |session| &mut session.basket))
    /// }
    ///
    /// # let (scope, sessions) = (Scopes::new().open(), Arc::new(Sessions));
    /// basket(scope.handle(), &sessions).await.unwrap().push(17);
    /// assert_eq!(*basket(scope.handle(), &sessions).await.unwrap(), [17]);
    /// # scope.close(Exit::Completed).await.unwrap();
    /// # });
    /// ```
    pub fn map<T: ?Sized>(
        guard: Self,
        part: fn(&R::Handle) -> &T,
        part_mut: fn(&mut R::Handle) -> &mut T,
    ) -> MappedGuard<R, T> {
        MappedGuard { guard, part, part_mut }
    }

    /// Takes the handle out of the request, for a streamed body, a WebSocket or a background job.
    ///
    /// The scope no longer owns the handle; the owner of the lease decides how it ends. The next `get` of the request
    /// acquires another handle.
    ///
    /// If the scope is already closed, the lease is released as cancelled, whatever exit its owner requests, because
    /// the scope's verdict is fixed and already covers the handle (law L9).
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
    /// assert_eq!(scopes.stats().live, 1); // it still exists
    /// Lease::complete(lease).await.unwrap();
    /// # });
    /// ```
    pub fn detach(mut guard: Self) -> Lease<R> {
        let handle = guard.handle.take().expect(LENT);
        guard.slot.detach(handle)
    }
}

/// A loan of a part of the request's handle, created by [`Guard::map`].
///
/// It derefs to the part, and is otherwise like the [`Guard`] that it was made of: it is exclusive, and dropping it
/// returns the whole handle to the cell.
///
/// ```
/// use reqscope::Resource;
/// use reqscope::scope::MappedGuard;
///
/// // A helper that must not see the rest of the handle.
/// fn log<R: Resource>(mut line: MappedGuard<R, String>) {
///     line.push_str("done");
/// }
/// ```
#[must_use = "a guard that is dropped at once has only acquired the handle"]
pub struct MappedGuard<R: Resource, T: ?Sized> {
    guard: Guard<R>,
    part: Part<R::Handle, T>,
    part_mut: PartMut<R::Handle, T>,
}

type Part<H, T> = fn(&H) -> &T;
type PartMut<H, T> = fn(&mut H) -> &mut T;

impl<R: Resource, T: ?Sized> Deref for MappedGuard<R, T> {
    type Target = T;

    fn deref(&self) -> &T {
        (self.part)(&self.guard)
    }
}

impl<R: Resource, T: ?Sized> DerefMut for MappedGuard<R, T> {
    fn deref_mut(&mut self) -> &mut T {
        (self.part_mut)(&mut self.guard)
    }
}

impl<R: Resource, T: ?Sized + fmt::Debug> fmt::Debug for MappedGuard<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MappedGuard").field(&&**self).finish()
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
