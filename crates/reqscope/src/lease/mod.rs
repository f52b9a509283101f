pub(crate) mod context;
pub(crate) mod release;
pub(crate) mod validate;
pub(crate) mod acquire;

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::Error;
use crate::exit::Exit;
use crate::lease::release::Releasing;
use crate::reaper::account::Account;
use crate::reaper::{self, Reaper};
use crate::resource::{Health, Resource};
use crate::rt::catch::{self, QuietArc};
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;

/// A handle that is owned outside of any scope, and released when the lease ends.
///
/// End it with [`Lease::complete`] or [`Lease::fail`], and await the returned future for the result of the release. A
/// lease that is dropped ends as [`Exit::Cancelled`], or as [`Exit::Panicked`] while unwinding, and the
/// [`Reaper`](crate::Reaper) runs the release.
///
/// A lease derefs to the handle, so the methods of the lease are associated functions.
///
/// Use a lease for work that outlives a request or belongs to none: a streamed body, a WebSocket, a background job. A
/// resource that wraps another one owns the inner handle as a lease. Within a request, use [`Lazy`](crate::Lazy).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Lease, resource_fn};
/// use std::{convert::Infallible, sync::Arc};
///
/// let buffers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::<u8>::with_capacity(4096)) }));
///
/// let mut buffer = Lease::acquire(&buffers).await.unwrap();
/// buffer.extend(b"nightly job");
/// Lease::complete(buffer).await.unwrap();
/// # });
/// ```
///
/// A lease that has ended cannot be used:
///
/// ```compile_fail,E0382
/// # use reqscope::{Lease, Resource};
/// fn twice<R: Resource>(lease: Lease<R>) {
///     drop(Lease::complete(lease));
///     drop(Lease::complete(lease));
/// }
/// ```
#[must_use = "a lease that is dropped at once is released as cancelled"]
pub struct Lease<R: Resource> {
    /// `None` only after a method that consumes the lease has taken it apart.
    parts: Option<LeaseParts<R>>,
}

struct LeaseParts<R: Resource> {
    handle: R::Handle,
    resource: QuietArc<R>,
    account: Account<R>,
}

impl<R: Resource> Lease<R> {
    pub(crate) fn new(handle: R::Handle, resource: QuietArc<R>, account: Account<R>) -> Self {
        Lease { parts: Some(LeaseParts { handle, resource, account }) }
    }

    /// Takes the lease apart, for a cell, which has its own reference to the resource.
    pub(crate) fn into_parts(mut self) -> (R::Handle, Account<R>) {
        let LeaseParts { handle, account, .. } = self.parts.take().expect(WHOLE);
        (handle, account)
    }

    /// Ends the lease as [`Exit::Completed`]. Same as `Lease::end(lease, Exit::Completed)`.
    pub fn complete(lease: Self) -> Release<R> {
        Self::end(lease, Exit::Completed)
    }

    /// Ends the lease as [`Exit::Failed`]. Same as `Lease::end(lease, Exit::Failed)`.
    pub fn fail(lease: Self) -> Release<R> {
        Self::end(lease, Exit::Failed)
    }

    /// Ends the lease with the given exit.
    ///
    /// This is a plain function: the exit is fixed when it returns. Await the future for the result of the release.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, at any point, the release runs to its end in the reaper, with the same exit.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Exit, Lease, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let files = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// let lease = Lease::acquire(&files).await.unwrap();
    /// let written: Result<(), std::io::Error> = Ok(());
    ///
    /// let exit = if written.is_ok() { Exit::Completed } else { Exit::Failed };
    /// Lease::end(lease, exit).await.unwrap();
    /// # });
    /// ```
    pub fn end(mut lease: Self, exit: Exit) -> Release<R> {
        let LeaseParts { handle, resource, account } = lease.parts.take().expect(WHOLE);
        match end(&resource, handle, account, exit, Deadline::after) {
            Ok(Some(release)) => release,
            Ok(None) => Release { running: None, outcome: Ok(()) },
            Err(error) => Release { running: None, outcome: Err(error) },
        }
    }

    /// Returns the resource of the handle.
    pub fn resource(lease: &Self) -> &Arc<R> {
        lease.parts().resource.as_arc()
    }

    /// Returns the line of code that took the handle.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Lease, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let files = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(()) }));
    /// let lease = Lease::acquire(&files).await.unwrap();
    /// assert!(Arc::ptr_eq(Lease::resource(&lease), &files));
    /// eprintln!("still here: taken at {}", Lease::taken_at(&lease));
    /// # });
    /// ```
    pub fn taken_at(lease: &Self) -> &'static Location<'static> {
        lease.parts().account.taken_at()
    }

    /// Returns the reaper that counts the handle and runs its release.
    ///
    /// Keep a clone of the [`Scopes`](crate::Scopes) or the [`Reaper`] whose handles you drain. Once all of them have been
    /// dropped, the reaper that this returns may count and drain only a part of those handles, this one among them.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Lease, Reaper, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
    /// let reaper = Reaper::new();
    /// let lease = Lease::acquire_in(&reaper, &numbers).await.unwrap();
    /// assert_eq!(Lease::reaper(&lease).stats().live, 1);
    /// # });
    /// ```
    pub fn reaper(lease: &Self) -> Reaper {
        Reaper::of_shard(lease.parts().account.accounting())
    }

    /// Takes the handle out of the lease, for implementations of wrappers. The handle is no longer counted, and the
    /// caller is responsible for its release.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Lease, Reaper, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let reaper = Reaper::new();
    /// # let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
    /// let lease = Lease::acquire_in(&reaper, &numbers).await.unwrap();
    /// let number: i32 = Lease::into_handle(lease); // not released by reqscope any more
    /// assert_eq!(number, 7);
    /// assert_eq!(reaper.stats().taken, 1);
    /// # });
    /// ```
    pub fn into_handle(lease: Self) -> R::Handle {
        let (handle, account) = lease.into_parts();
        account.taken();
        handle
    }

    /// Returns what `probe` reports about the handle.
    pub(crate) fn probe(&self) -> Health {
        probe_or_dead(&*self.parts().resource, self)
    }

    /// Reports that the handle is late. The caller drops the lease, which releases the unused handle at once (L6).
    pub(crate) fn late(&self) {
        self.parts().account.late();
    }

    fn parts(&self) -> &LeaseParts<R> {
        self.parts.as_ref().expect(WHOLE)
    }
}

const WHOLE: &str = "only a method that consumes the lease takes it apart";

/// Calls `probe`; a panic in it counts as `Dead`.
pub(crate) fn probe_or_dead<R: Resource>(resource: &R, handle: &R::Handle) -> Health {
    catch::call(|| resource.probe(handle)).unwrap_or(Health::Dead)
}

/// Ends the use of a handle. `deadline` is called with the release timeout if the release has to wait. Returns `None`
/// if the handle has been released.
#[inline]
pub(crate) fn end<R: Resource>(
    resource: &QuietArc<R>,
    handle: R::Handle,
    account: Account<R>,
    exit: Exit,
    deadline: impl FnOnce(Duration) -> Deadline,
) -> Result<Option<Release<R>>, Error<R::Cause>> {
    let exit = account.verdict(exit);
    let running = Releasing::start(resource, handle, account, exit, deadline)?;
    Ok(running.map(|running| Release { running: Some(running), outcome: Ok(()) }))
}

impl<R: Resource> Deref for Lease<R> {
    type Target = R::Handle;

    fn deref(&self) -> &R::Handle {
        &self.parts().handle
    }
}

impl<R: Resource> DerefMut for Lease<R> {
    fn deref_mut(&mut self) -> &mut R::Handle {
        &mut self.parts.as_mut().expect(WHOLE).handle
    }
}

impl<R: Resource> Drop for Lease<R> {
    fn drop(&mut self) {
        if let Some(LeaseParts { handle, resource, account }) = self.parts.take() {
            // Dropping the release hands it to the reaper; an error has been reported to the observer.
            drop(end(&resource, handle, account, Exit::of_drop(), Deadline::after));
        }
    }
}

impl<R: Resource> fmt::Debug for Lease<R>
where
    R::Handle: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&**self).finish()
    }
}

/// The release of a lease, begun by [`Lease::complete`], [`Lease::fail`] or [`Lease::end`].
///
/// # Errors
///
/// - the error that [`Resource::release`] returned
/// - [`is_panicked`](Error::is_panicked) if it panicked
/// - [`is_timeout`](Error::is_timeout) after the reaper's
///   [release timeout](crate::reaper::ReaperBuilder::release_timeout) (5 s by default); the handle was then dropped and
///   counted as abandoned
/// - [`is_runtime`](Error::is_runtime) if the release has to wait and there is no tokio runtime with timers; it then
///   continues on the runtime on which the handle was acquired, if that is another one
///
/// # Cancel safety
///
/// If the future is dropped, the release continues in the reaper, with the same exit, and errors are only reported to
/// the observer.
///
/// The result is returned once. If the future is polled again after completion, it returns `Ok`.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Error, Lease, resource_fn};
/// use std::{io, sync::Arc};
///
/// let files = Arc::new(
///     resource_fn(|| async { Ok::<_, Error<io::Error>>(()) })
///         .on_release(|_file, _exit| async { Err(io::Error::other("disk full").into()) }),
/// );
/// let release = Lease::complete(Lease::acquire(&files).await.unwrap());
/// let error = release.await.unwrap_err();
/// assert_eq!(error.cause().unwrap().to_string(), "disk full");
/// # });
/// ```
#[must_use = "if this is dropped, the release continues, but its result is lost"]
pub struct Release<R: Resource> {
    running: Option<Releasing<R>>,
    /// The result, if the release did not have to wait.
    outcome: Result<(), Error<R::Cause>>,
}

/// What begins a release: a call, or the drop of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Code,
    /// A `Drop`, which must not run a resource's async code: it may hold any lock (law L15).
    Drop,
}

impl Caller {
    /// Returns whether the release of a handle that was acquired on `home` may be polled in place.
    pub(crate) fn may_poll(self, home: Option<&Runtime>) -> bool {
        let here = || Runtime::try_current().is_ok_and(|here| home.is_some_and(|home| home.id() == here.id()));
        self == Caller::Code && !std::thread::panicking() && here()
    }
}

impl<R: Resource> Release<R> {
    /// Leaves the release to the reaper, unless it can end at once.
    pub(crate) fn leave(mut self, caller: Caller) {
        if caller.may_poll(self.runtime()) {
            // If it has to wait, the drop below spawns a task, which polls it before anything else.
            drop(Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())));
        }
    }

    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.running.as_ref().and_then(Releasing::runtime)
    }
}

impl<R: Resource> Future for Release<R> {
    type Output = Result<(), Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(running) = &mut self.running else {
            return Poll::Ready(std::mem::replace(&mut self.outcome, Ok(())));
        };
        let outcome = std::task::ready!(Pin::new(running).poll(cx));
        self.running = None;
        Poll::Ready(outcome)
    }
}

impl<R: Resource> Drop for Release<R> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let runtime = running.runtime().cloned();
            reaper::spawn(runtime, async move {
                // The result has been counted, and reported to the observer.
                drop(running.await);
            });
        }
    }
}

impl<R: Resource> fmt::Debug for Release<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release").field("running", &self.running.is_some()).finish_non_exhaustive()
    }
}
