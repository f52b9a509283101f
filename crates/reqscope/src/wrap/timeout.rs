use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::resource::{Health, Resource};
use crate::rt::time::Deadline;

/// Bounds each verb of a resource in time.
///
/// The core bounds acquire and release by itself, generously; this is for tighter bounds, and for `validate`. The
/// shortcuts that do not wait are passed on as they are.
///
/// A verb that misses its bound is dropped, and answers an error that [`is_timeout`](Error::is_timeout) and names its
/// stage. What is ready at its first poll is in time, however short the bound. It needs a tokio runtime with timers as
/// soon as it waits, and answers with an error where there is none.
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
    /// Gives each verb `patience`. There is no default: a sensible bound is the backend's own.
    pub fn new(inner: R, patience: Duration) -> Self {
        Timeout { inner, acquire: patience, validate: patience, release: patience }
    }

    /// Gives `acquire` another bound than the rest.
    ///
    /// Long for a connection, short for a ping and a farewell:
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
    pub fn acquire_within(mut self, patience: Duration) -> Self {
        self.acquire = patience;
        self
    }

    /// Gives `validate` another bound than the rest.
    #[must_use]
    pub fn validate_within(mut self, patience: Duration) -> Self {
        self.validate = patience;
        self
    }

    /// Gives `release` another bound than the rest. A handle whose release misses it is dropped with the release.
    /// To the core that is a release that failed, not one that was abandoned.
    #[must_use]
    pub fn release_within(mut self, patience: Duration) -> Self {
        self.release = patience;
        self
    }

    /// The resource inside.
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

    /// Takes the resource out.
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

    fn try_acquire(&self) -> Option<R::Handle> {
        self.inner.try_acquire()
    }

    fn probe(&self, handle: &R::Handle) -> Health {
        self.inner.probe(handle)
    }

    fn reclaim(&self, handle: R::Handle, exit: Exit) -> Result<(), R::Handle> {
        self.inner.reclaim(handle, exit)
    }

    fn settles(&self, exit: Exit) -> bool {
        self.inner.settles(exit)
    }
}

/// Missed or dropped, the work is dropped here and owns what it has half-made.
async fn within<T, C>(
    patience: Duration,
    stage: Stage,
    work: impl Future<Output = Result<T, Error<C>>>,
) -> Result<T, Error<C>> {
    let mut work = pin!(work);
    let mut deadline = Deadline::after(patience);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome),
        Poll::Pending => Poll::Ready(Err(ready!(deadline.poll_missed(stage, cx)))),
    })
    .await
}
