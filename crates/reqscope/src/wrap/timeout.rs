use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::resource::Resource;
use crate::rt::time::Deadline;

/// Limits the time of each verb of a resource.
///
/// Scopes and leases already limit `acquire` and `release`, generously; this wrapper is for tighter limits, and for
/// `validate`. The shortcuts that do not wait are forwarded unchanged.
///
/// A verb that exceeds its limit is dropped, and returns a [timeout error](Error::is_timeout) that names its stage. A
/// verb that is ready at its first poll is always in time. A verb that has to wait needs a tokio runtime with timers,
/// and returns an error without one.
///
/// Two timeouts around clones of one [`Pool`](crate::Pool) are one resource with one handle in a scope. The limits of
/// the one that the request uses first apply.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use reqscope::error::Stage;
/// use reqscope::wrap::Timeout;
/// use reqscope::{Error, Lease, resource_fn};
/// use std::{convert::Infallible, future, sync::Arc, time::Duration};
///
/// let frozen = resource_fn(|| future::pending::<Result<(), Error<Infallible>>>());
/// let bounded = Arc::new(Timeout::new(frozen, Duration::from_secs(1)));
///
/// let error = Lease::acquire(&bounded).await.unwrap_err();
/// assert!(error.is_timeout());
/// assert_eq!(error.stage(), Some(Stage::Acquiring));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Timeout<R> {
    inner: R,
    acquire: Duration,
    validate: Duration,
    release: Duration,
}

impl<R> Timeout<R> {
    /// Creates a wrapper that limits each verb to `timeout`. There is no default, because a sensible limit depends on
    /// the backend.
    pub fn new(inner: R, timeout: Duration) -> Self {
        Timeout { inner, acquire: timeout, validate: timeout, release: timeout }
    }

    /// Sets the limit for `acquire`. Defaults to the limit passed to [`new`](Timeout::new).
    ///
    /// A long limit for a connection, short ones for a ping and a disconnect:
    ///
    /// ```
    /// # use reqscope::wrap::Timeout;
    /// # use reqscope::{Error, resource_fn};
    /// # use std::{convert::Infallible, time::Duration};
    /// # let connect = resource_fn(|| async { Ok::<_, Error<Infallible>>(()) });
    /// let bounded = Timeout::new(connect, Duration::from_secs(1))
    ///     .acquire_within(Duration::from_secs(10))
    ///     .validate_within(Duration::from_millis(200))
    ///     .release_within(Duration::from_secs(2));
    /// # drop(bounded);
    /// ```
    #[must_use]
    pub fn acquire_within(mut self, timeout: Duration) -> Self {
        self.acquire = timeout;
        self
    }

    /// Sets the limit for `validate`. Defaults to the limit passed to [`new`](Timeout::new).
    #[must_use]
    pub fn validate_within(mut self, timeout: Duration) -> Self {
        self.validate = timeout;
        self
    }

    /// Sets the limit for `release`. Defaults to the limit passed to [`new`](Timeout::new). A release that exceeds the
    /// limit is dropped together with its handle, and counts as failed, not as abandoned.
    #[must_use]
    pub fn release_within(mut self, timeout: Duration) -> Self {
        self.release = timeout;
        self
    }

    /// Returns a reference to the inner resource.
    ///
    /// ```
    /// use reqscope::wrap::Timeout;
    /// # use std::time::Duration;
    ///
    /// let timeout = Timeout::new("any resource", Duration::from_secs(1));
    /// assert_eq!(*timeout.get_ref(), "any resource");
    /// assert_eq!(timeout.into_inner(), "any resource");
    /// ```
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Returns the inner resource.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Resource> Resource for Timeout<R> {
    type Handle = R::Handle;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<R::Handle, Error<R::Cause>> {
        within(self.acquire, Stage::Acquiring, self.inner.acquire()).await
    }

    async fn validate(&self, handle: &mut R::Handle) -> Result<(), Error<R::Cause>> {
        within(self.validate, Stage::Validating, self.inner.validate(handle)).await
    }

    async fn release(&self, handle: R::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
        within(self.release, Stage::Releasing, self.inner.release(handle, exit)).await
    }

    forward_other_methods!();
}

/// Runs `work` under a deadline. If the deadline is missed or this future is dropped, `work` is dropped here and cleans
/// up what it has half-made.
async fn within<T, C>(
    timeout: Duration,
    stage: Stage,
    work: impl Future<Output = Result<T, Error<C>>>,
) -> Result<T, Error<C>> {
    let mut work = pin!(work);
    let mut deadline = Deadline::after(timeout);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => Poll::Ready(Err(ready!(deadline.poll_missed(stage, cx)))),
    })
    .await
}
