use std::time::Duration;

use crate::pool::{Pool, PoolBuilder};
use crate::resource::Resource;
use crate::shared::Shared;
use crate::wrap::{BoxResource, Retry, RetryPolicy, Timeout};

/// The wrappers, as methods.
///
/// Each method puts a layer *around* what stands before it, so the last one is the outermost. Order matters:
///
/// ```
/// use reqscope::wrap::RetryPolicy;
/// use reqscope::{Resource, ResourceExt};
/// use std::time::Duration;
///
/// # fn stacks(connect: impl Resource + Clone) {
/// // Right: a second for each attempt, so that one frozen attempt cannot eat the time of the others, and five
/// // seconds for all of them and the pauses together.
/// let bounded = connect
///     .clone()
///     .timeout(Duration::from_secs(1))
///     .retry(RetryPolicy::new())
///     .timeout(Duration::from_secs(5));
///
/// // Wrong: the first attempt that hangs uses up all the time, and is never tried again.
/// let stuck = connect.retry(RetryPolicy::new()).timeout(Duration::from_secs(5));
/// # drop((bounded, stuck));
/// # }
/// ```
pub trait ResourceExt: Resource + Sized {
    /// Bounds each verb in time: [`Timeout`].
    fn timeout(self, patience: Duration) -> Timeout<Self> {
        Timeout::new(self, patience)
    }

    /// Tries again to acquire: [`Retry`].
    fn retry(self, policy: RetryPolicy) -> Retry<Self> {
        Retry::new(self, policy)
    }

    /// A bounded set of handles that are used again: [`Pool`], as the builder says.
    ///
    /// What stands before it is done for each creation, what stands after it for each check-out. The pool bounds and
    /// spaces its creations by itself, so a [`timeout`](ResourceExt::timeout) or a [`retry`](ResourceExt::retry)
    /// before it is seldom of use.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, Pool, ResourceExt, resource_fn};
    /// # use std::convert::Infallible;
    ///
    /// let pool = resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }).pooled(Pool::builder().max_size(20));
    /// let number = pool.get().await.unwrap();
    /// assert_eq!(*number, 7);
    /// pool.put(number);
    /// # });
    /// ```
    fn pooled(self, builder: PoolBuilder<Self>) -> Pool<Self> {
        builder.build(self)
    }

    /// One handle for everybody: [`Shared`]. No resource any more, so it comes last.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Error, ResourceExt, resource_fn};
    /// # use std::{convert::Infallible, time::Duration};
    ///
    /// let client = resource_fn(|| async { Ok::<_, Error<Infallible>>("client") });
    /// let client = client.timeout(Duration::from_secs(1)).shared();
    /// assert_eq!(*client.get().await.unwrap(), "client");
    /// # });
    /// ```
    fn shared(self) -> Shared<Self> {
        Shared::new(self)
    }

    /// Forgets the type: [`BoxResource`].
    ///
    /// ```
    /// use reqscope::{BoxResource, Error, ResourceExt, resource_fn};
    /// use std::convert::Infallible;
    ///
    /// let number: BoxResource<u32, Infallible> =
    ///     resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }).boxed();
    /// # drop(number);
    /// ```
    fn boxed(self) -> BoxResource<Self::Handle, Self::Cause> {
        BoxResource::new(self)
    }
}

impl<R: Resource> ResourceExt for R {}
