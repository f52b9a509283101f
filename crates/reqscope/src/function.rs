use std::fmt;
use std::future::{Future, Ready, ready};

use crate::resource::Resource;
use crate::{Error, Exit};

/// A resource out of a closure that acquires; [`on_release`](ResourceFn::on_release) adds one that releases.
///
/// For what needs no `validate` and no shortcut. Everything else implements [`Resource`].
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
pub fn resource_fn<A, F, H, C>(acquire: A) -> ResourceFn<A, DropHandle<H, C>>
where
    A: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<H, Error<C>>> + Send + 'static,
{
    ResourceFn { acquire, release: drop_handle }
}

/// The release of a [`resource_fn`] that was told none: the handle is dropped.
///
/// For a field that holds such a resource:
///
/// ```
/// use reqscope::{DropHandle, Error, ResourceFn, resource_fn};
/// use std::convert::Infallible;
/// use std::future::{Ready, ready};
///
/// type Number = Ready<Result<u32, Error<Infallible>>>;
///
/// struct App {
///     numbers: ResourceFn<fn() -> Number, DropHandle<u32, Infallible>>,
/// }
///
/// let app = App { numbers: resource_fn(|| ready(Ok(7))) };
/// # drop(app.numbers);
/// ```
pub type DropHandle<H, C> = fn(H, Exit) -> Ready<Result<(), Error<C>>>;

fn drop_handle<H, C>(handle: H, _exit: Exit) -> Ready<Result<(), Error<C>>> {
    drop(handle);
    ready(Ok(()))
}

/// The resource made by [`resource_fn`].
///
/// Closures have no name, so a function gives it on as any resource:
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
    /// Says how a handle is given back. By default it is dropped.
    pub fn on_release<S, F, H, C>(self, release: S) -> ResourceFn<A, S>
    where
        S: Fn(H, Exit) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Error<C>>> + Send + 'static,
    {
        ResourceFn { acquire: self.acquire, release }
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
