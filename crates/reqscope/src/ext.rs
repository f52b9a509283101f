use std::time::Duration;

use crate::pool::{Pool, PoolBuilder};
use crate::resource::Resource;
use crate::shared::Shared;
use crate::wrap::{BoxResource, Retry, RetryPolicy, Tagged, Timeout};

/// Methods that wrap a resource.
///
/// Each method wraps the resource that it is called on, so the last call is the outermost layer. The order matters:
///
/// ```
/// use reqscope::wrap::RetryPolicy;
/// use reqscope::{Resource, ResourceExt};
/// use std::time::Duration;
///
/// # fn stacks(connect: impl Resource + Clone) {
/// // Right: one second for each attempt, so that a hanging attempt does not use up the time of the others, and five
/// // seconds for all attempts and pauses together.
/// let bounded = connect
///     .clone()
///     .timeout(Duration::from_secs(1))
///     .retry(RetryPolicy::new())
///     .timeout(Duration::from_secs(5));
///
/// // Wrong: the first attempt that hangs uses up all the time, and there is no second one.
/// let stuck = connect.retry(RetryPolicy::new()).timeout(Duration::from_secs(5));
/// # drop((bounded, stuck));
/// # }
/// ```
pub trait ResourceExt: Resource + Sized {
    /// Limits the time of each verb; see [`Timeout`].
    fn timeout(self, timeout: Duration) -> Timeout<Self> {
        Timeout::new(self, timeout)
    }

    /// Retries a failed `acquire`; see [`Retry`].
    fn retry(self, policy: RetryPolicy) -> Retry<Self> {
        Retry::new(self, policy)
    }

    /// Builds a [`Pool`] around this resource: a bounded set of handles that are reused.
    ///
    /// Layers added before this call apply to each creation of a handle, layers added after it to each check-out. The
    /// pool has its own timeout and its own pauses between failed creations, so a [`timeout`](ResourceExt::timeout) or
    /// a [`retry`](ResourceExt::retry) before it is rarely useful.
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
    ///
    /// # Panics
    ///
    /// If the handles of this resource must [end with their request](Resource::ends_with_request), as transactions must:
    /// these go around a pool, not into it.
    #[track_caller]
    fn pooled(self, builder: PoolBuilder<Self>) -> Pool<Self> {
        builder.build(self)
    }

    /// Shares one handle between all users; see [`Shared`]. `Shared` is not a resource, so this call must come last.
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
    ///
    /// # Panics
    ///
    /// If the handles of this resource must [end with their request](Resource::ends_with_request).
    #[track_caller]
    fn shared(self) -> Shared<Self> {
        Shared::new(self)
    }

    /// Gives the resource a type of its own, for two resources of one type; see [`Tagged`].
    ///
    /// ```
    /// # use reqscope::{Error, resource_fn};
    /// use reqscope::ResourceExt;
    /// # use std::convert::Infallible;
    ///
    /// struct Audit;
    ///
    /// # let connect = resource_fn(|| async { Ok::<_, Error<Infallible>>(7) });
    /// let audit = connect.tagged::<Audit>();
    /// # drop(audit);
    /// ```
    fn tagged<Tag: 'static>(self) -> Tagged<Self, Tag> {
        Tagged::new(self)
    }

    /// Erases the type of the resource; see [`BoxResource`].
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
