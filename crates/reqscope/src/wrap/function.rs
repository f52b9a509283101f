use std::fmt;
use std::future::Future;

use crate::error::Error;
use crate::exit::Exit;
use crate::resource::Resource;

/// Creates a resource from a closure that acquires a handle; [`on_release`](ResourceFn::on_release) adds a closure that
/// releases it.
///
/// For a resource that needs `validate` or a shortcut, implement [`Resource`] instead.
///
/// `acquire` is called once for each attempt; a panic in it or in its future fails that attempt. The future may be
/// dropped at any `.await`, and must then leave nothing behind (law L3).
///
/// # A handle with a lifetime in its type
///
/// If the handle is a `&'static str` or the like, pass functions instead of closures, here and to `on_release`. With a
/// closure the compiler cannot prove that a task which holds such a handle is `Send`, and reports that an
/// "implementation of `FnOnce` is not general enough". A `struct` around the handle helps too.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Lease, resource_fn};
/// use std::{convert::Infallible, sync::Arc};
///
/// async fn name() -> Result<&'static str, Error<Infallible>> {
///     Ok("alice")
/// }
///
/// let names = Arc::new(resource_fn(name));
/// let task = tokio::spawn(async move { Lease::acquire(&names).await.unwrap().len() });
/// assert_eq!(task.await.unwrap(), 5);
/// # });
/// ```
///
/// # Examples
///
/// A lock file:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Lease, resource_fn};
/// use std::{fs::File, io, sync::Arc};
///
/// # let folder = std::env::temp_dir().join(format!("reqscope-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("work.lock");
/// let lock = Arc::new(
///     resource_fn({
///         let path = path.clone();
///         move || {
///             let path = path.clone();
///             async move { Ok::<_, Error<io::Error>>(File::create_new(path)?) }
///         }
///     })
///     .on_release(move |file, _exit: Exit| {
///         let path = path.clone();
///         async move {
///             drop(file);
///             Ok(std::fs::remove_file(path)?)
///         }
///     }),
/// );
///
/// let held = Lease::acquire(&lock).await.unwrap();
/// assert!(Lease::acquire(&lock).await.is_err());
/// Lease::complete(held).await.unwrap();
/// Lease::complete(Lease::acquire(&lock).await.unwrap()).await.unwrap();
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # });
/// ```
pub fn resource_fn<A, F, H, C>(acquire: A) -> ResourceFn<A, DropHandle>
where
    A: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<H, Error<C>>> + Send + 'static,
{
    ResourceFn { acquire, release: DropHandle }
}

/// The release of a [`resource_fn`] without [`on_release`](ResourceFn::on_release): the handle is dropped.
///
/// Use it to name the type of such a resource:
///
/// ```
/// use reqscope::wrap::{DropHandle, ResourceFn};
/// use reqscope::{Error, resource_fn};
/// use std::convert::Infallible;
/// use std::future::{Ready, ready};
///
/// type Number = Ready<Result<u32, Error<Infallible>>>;
///
/// struct App {
///     numbers: ResourceFn<fn() -> Number, DropHandle>,
/// }
///
/// let app = App { numbers: resource_fn(|| ready(Ok(7))) };
/// # drop(app.numbers);
/// ```
// Not a function pointer, although that would need no second `impl` below: with the handle in its signature, and a
// lifetime in the handle, the compiler cannot prove that a task which holds such a handle is `Send`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DropHandle;

/// The resource created by [`resource_fn`].
///
/// The type of a closure has no name, so a function returns this type as `impl Resource`:
///
/// ```
/// use reqscope::{Error, Resource, resource_fn};
/// use std::convert::Infallible;
///
/// fn buffers() -> impl Resource<Handle = Vec<u8>> {
///     resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::with_capacity(4096)) })
///         .on_release(|buffer: Vec<u8>, exit| async move {
///             println!("{exit}: {} bytes", buffer.len());
///             Ok(())
///         })
/// }
/// # drop(buffers());
/// ```
#[derive(Clone, Copy)]
pub struct ResourceFn<A, R> {
    acquire: A,
    release: R,
}

impl<A, R> ResourceFn<A, R> {
    /// Sets the function that releases a handle. Defaults to dropping the handle, which is right if its `Drop` does all
    /// that is needed and does not block. A later call replaces an earlier one.
    ///
    /// The future of `release` owns the handle, and runs to its end or its deadline, even if the request has ended.
    pub fn on_release<S, F, H, C>(self, release: S) -> ResourceFn<A, S>
    where
        S: Fn(H, Exit) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error<C>>> + Send + 'static,
    {
        ResourceFn { acquire: self.acquire, release }
    }
}

impl<A, F, H, C> Resource for ResourceFn<A, DropHandle>
where
    A: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<H, Error<C>>> + Send + 'static,
    H: Send + 'static,
    C: std::error::Error + Send + Sync + 'static,
{
    type Handle = H;
    type Cause = C;

    fn acquire(&self) -> impl Future<Output = Result<H, Error<C>>> + Send {
        (self.acquire)()
    }
}

impl<A, R, F, G, H, C> Resource for ResourceFn<A, R>
where
    A: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<H, Error<C>>> + Send + 'static,
    R: Fn(H, Exit) -> G + Send + Sync + 'static,
    G: Future<Output = Result<(), Error<C>>> + Send + 'static,
    H: Send + 'static,
    C: std::error::Error + Send + Sync + 'static,
{
    type Handle = H;
    type Cause = C;

    fn acquire(&self) -> impl Future<Output = Result<H, Error<C>>> + Send {
        (self.acquire)()
    }

    fn release(&self, handle: H, exit: Exit) -> impl Future<Output = Result<(), Error<C>>> + Send {
        (self.release)(handle, exit)
    }
}

impl<A, R> fmt::Debug for ResourceFn<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceFn").finish_non_exhaustive()
    }
}
