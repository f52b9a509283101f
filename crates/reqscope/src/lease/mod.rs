pub(crate) mod context;
pub(crate) mod release;
pub(crate) mod acquire;

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::Error;
use crate::exit::Exit;
use crate::lease::release::Releasing;
use crate::reaper;
use crate::reaper::account::Account;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;

/// A handle that is owned outside of any scope, and goes back when the lease ends.
///
/// End it with [`Lease::complete`] or [`Lease::fail`], and await what they return to hear how the release went.
/// Dropping it is a verdict too: [`Exit::Cancelled`], or [`Exit::Panicked`] while unwinding, with the release run
/// by the [`Reaper`](crate::Reaper).
///
/// It derefs to the handle, so its own methods are associated functions.
///
/// Use it for work that outlives a request or belongs to none: a streamed body, a WebSocket, a background job; and
/// inside wrappers, as the owner of a half-made thing. Within a request use [`Lazy`](crate::Lazy).
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
/// A lease that was ended cannot be used:
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
    /// `None` only after a method that consumed the lease has taken it apart.
    parts: Option<LeaseParts<R>>,
}

struct LeaseParts<R: Resource> {
    handle: R::Handle,
    resource: Arc<R>,
    account: Account<R>,
}

impl<R: Resource> Lease<R> {
    pub(crate) fn new(handle: R::Handle, resource: Arc<R>, account: Account<R>) -> Self {
        Lease { parts: Some(LeaseParts { handle, resource, account }) }
    }

    /// Takes it apart, for a cell that knows the resource.
    pub(crate) fn into_parts(mut self) -> (R::Handle, Account<R>) {
        let LeaseParts { handle, account, .. } = self.parts.take().expect(WHOLE);
        (handle, account)
    }

    /// Ends it as [`Exit::Completed`]: the same as `Lease::end(lease, Exit::Completed)`.
    pub fn complete(lease: Self) -> Release<R> {
        Self::end(lease, Exit::Completed)
    }

    /// Ends it as [`Exit::Failed`]: the same as `Lease::end(lease, Exit::Failed)`.
    pub fn fail(lease: Self) -> Release<R> {
        Self::end(lease, Exit::Failed)
    }

    /// Ends it with the exit that its user tells.
    ///
    /// A plain function: the verdict is fixed when it returns. Await the future to hear how the release went.
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

    /// The resource that it is a handle of.
    pub fn resource(lease: &Self) -> &Arc<R> {
        &lease.parts().resource
    }

    /// Where in the program it was taken.
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

    /// Takes the handle out, for the writers of wrappers: it leaves the books, and nobody releases it any more.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Lease, Reaper, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let reaper = Reaper::new();
    /// # let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
    /// let lease = Lease::acquire_in(&reaper, &numbers).await.unwrap();
    /// let number: i32 = Lease::into_handle(lease); // ours to give back now
    /// assert_eq!(number, 7);
    /// assert_eq!(reaper.stats().taken, 1);
    /// # });
    /// ```
    pub fn into_handle(lease: Self) -> R::Handle {
        let (handle, account) = lease.into_parts();
        account.taken();
        handle
    }

    /// What a free look says.
    pub(crate) fn probe(&self) -> Health {
        probe_or_dead(&self.parts().resource, self)
    }

    /// It arrived too late: nobody has seen it, and the caller drops it, which releases it at once (L6).
    pub(crate) fn late(&self) {
        self.parts().account.late();
    }

    fn parts(&self) -> &LeaseParts<R> {
        self.parts.as_ref().expect(WHOLE)
    }
}

const WHOLE: &str = "only what consumes a lease takes it apart";

/// What a free look at a handle says. A probe that panics has seen nothing good.
pub(crate) fn probe_or_dead<R: Resource>(resource: &R, handle: &R::Handle) -> Health {
    catch::call(|| resource.probe(handle)).unwrap_or(Health::Dead)
}

/// Ends the use of a handle, under a deadline of the caller's making, who is told the usual patience. `None`: it has
/// been released.
pub(crate) fn end<R: Resource>(
    resource: &Arc<R>,
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
            // Dropping the release hands it to the reaper; an error was heard by the observer.
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
/// Those of [`Resource::release`]; a panic in it; a timeout after the reaper's
/// [release timeout](crate::reaper::ReaperBuilder::release_timeout) (5 s by default), after which the handle was dropped and
/// counted as abandoned. [`is_panicked`](Error::is_panicked), [`is_timeout`](Error::is_timeout) tell which.
///
/// # Cancel safety
///
/// Dropping it hands what is left to the reaper; the exit does not change. Errors then go to the observer only.
///
/// The outcome is told once: polled again after its end, it answers `Ok`.
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
#[must_use = "the release goes on if this is dropped, but nobody hears how it ended"]
pub struct Release<R: Resource> {
    running: Option<Releasing<R>>,
    /// What there was to tell without any waiting.
    outcome: Result<(), Error<R::Cause>>,
}

impl<R: Resource> Release<R> {
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
                // Its outcome is on the books, and the observer has heard it.
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
