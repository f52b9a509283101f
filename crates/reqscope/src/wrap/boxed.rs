use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::error::Error;
use crate::exit::Exit;
use crate::identity::Identity;
use crate::resource::{Health, Reset, Resource};

/// A resource with its type erased, so that it can be chosen at run time.
///
/// [`Resource`] itself is not `dyn`-compatible, because its futures are not boxed; a `BoxResource` allocates a box for
/// each call of a verb. The types of the handle and of the cause are kept.
///
/// ```
/// use reqscope::{BoxResource, Error, resource_fn};
/// use std::io::{self, Write};
///
/// type Sink = BoxResource<Box<dyn Write + Send>, io::Error>;
///
/// fn sink(quiet: bool) -> Sink {
///     if quiet {
///         BoxResource::new(resource_fn(|| async { Ok(Box::new(io::sink()) as Box<dyn Write + Send>) }))
///     } else {
///         BoxResource::new(resource_fn(|| async { Ok(Box::new(io::stdout()) as Box<dyn Write + Send>) }))
///     }
/// }
/// # drop(sink(true));
/// # drop(sink(false));
/// ```
pub struct BoxResource<H, C> {
    inner: Box<dyn DynResource<H, C>>,
    name: &'static str,
}

impl<H: Send + 'static, C: std::error::Error + Send + Sync + 'static> BoxResource<H, C> {
    /// Creates a box around `inner`.
    pub fn new(inner: impl Resource<Handle = H, Cause = C>) -> Self {
        fn name_of<R>(_: &R) -> &'static str {
            type_name::<R>()
        }
        BoxResource { name: name_of(&inner), inner: Box::new(inner) }
    }
}

impl<H: Send + 'static, C: std::error::Error + Send + Sync + 'static> Resource for BoxResource<H, C> {
    type Handle = H;
    type Cause = C;

    fn acquire(&self) -> impl Future<Output = Result<H, Error<C>>> + Send {
        self.inner.acquire()
    }

    async fn validate(&self, handle: &mut H) -> Result<(), Error<C>> {
        self.inner.validate(handle).await
    }

    fn release(&self, handle: H, exit: Exit) -> impl Future<Output = Result<(), Error<C>>> + Send {
        self.inner.release(handle, exit)
    }

    forward_other_methods!();
}

impl<H, C> fmt::Debug for BoxResource<H, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxResource").field(&self.name).finish()
    }
}

type BoxFuture<'a, T, C> = Pin<Box<dyn Future<Output = Result<T, Error<C>>> + Send + 'a>>;

/// The `dyn`-compatible version of [`Resource`], whose futures are boxed.
trait DynResource<H, C>: Send + Sync {
    fn acquire(&self) -> BoxFuture<'_, H, C>;
    fn validate<'a>(&'a self, handle: &'a mut H) -> BoxFuture<'a, (), C>;
    fn release(&self, handle: H, exit: Exit) -> BoxFuture<'_, (), C>;
    fn try_acquire(&self) -> Option<H>;
    fn probe(&self, handle: &H) -> Health;
    fn reclaim(&self, handle: H, exit: Exit) -> Result<(), H>;
    fn settles(&self, exit: Exit) -> bool;
    fn ends_with_request(&self) -> bool;
    fn reset(&self) -> Reset;
    fn fault(&self, handle: &H) -> Option<Error<C>>;
    fn identity(&self) -> Option<Identity>;
}

impl<R: Resource> DynResource<R::Handle, R::Cause> for R {
    fn acquire(&self) -> BoxFuture<'_, R::Handle, R::Cause> {
        Box::pin(Resource::acquire(self))
    }

    fn validate<'a>(&'a self, handle: &'a mut R::Handle) -> BoxFuture<'a, (), R::Cause> {
        Box::pin(Resource::validate(self, handle))
    }

    fn release(&self, handle: R::Handle, exit: Exit) -> BoxFuture<'_, (), R::Cause> {
        Box::pin(Resource::release(self, handle, exit))
    }

    fn try_acquire(&self) -> Option<R::Handle> {
        Resource::try_acquire(self)
    }

    fn probe(&self, handle: &R::Handle) -> Health {
        Resource::probe(self, handle)
    }

    fn reclaim(&self, handle: R::Handle, exit: Exit) -> Result<(), R::Handle> {
        Resource::reclaim(self, handle, exit)
    }

    fn settles(&self, exit: Exit) -> bool {
        Resource::settles(self, exit)
    }

    fn ends_with_request(&self) -> bool {
        Resource::ends_with_request(self)
    }

    fn reset(&self) -> Reset {
        Resource::reset(self)
    }

    fn fault(&self, handle: &R::Handle) -> Option<Error<R::Cause>> {
        Resource::fault(self, handle)
    }

    fn identity(&self) -> Option<Identity> {
        Resource::identity(self)
    }
}
