use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::inner::Inner;
use super::pooled::Pooled;
use crate::Error;
use crate::cell::Site;
use crate::resource::Resource;

type CheckOut<R> = Pin<Box<dyn Future<Output = Result<Pooled<R>, Error<<R as Resource>::Cause>>> + Send>>;

/// The future of [`Pool::get`](super::Pool::get). What is idle and sound it takes at its first poll, without an
/// allocation.
///
/// # Panics
///
/// If it is polled after it has ended.
///
/// # Cancel safety
///
/// Dropping it loses its place in the line and nothing else: what it was granted goes to the next one, and a creation
/// that it has caused goes on for the pool.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, GetPooled, Pool, resource_fn};
/// # use std::{convert::Infallible, time::Duration};
///
/// # let pool = Pool::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
/// let get: GetPooled<_> = pool.get();
/// let number = tokio::time::timeout(Duration::from_secs(1), get).await.unwrap().unwrap();
/// # pool.put(number);
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct GetPooled<R: Resource> {
    step: Step<R>,
    site: Site,
}

enum Step<R: Resource> {
    /// The pool moves on into what is taken.
    First(Arc<Inner<R>>),
    Waiting(CheckOut<R>),
    Over,
}

impl<R: Resource> GetPooled<R> {
    #[inline]
    pub(super) fn new(pool: &Arc<Inner<R>>, site: Site) -> Self {
        GetPooled { step: Step::First(Arc::clone(pool)), site }
    }
}

impl<R: Resource> Future for GetPooled<R> {
    type Output = Result<Pooled<R>, Error<R::Cause>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Step::First(pool) = &this.step {
            if let Some((slot, handle)) = pool.take_now(this.site) {
                if let Step::First(pool) = mem::replace(&mut this.step, Step::Over) {
                    return Poll::Ready(Ok(Pooled::new(pool, slot, handle)));
                }
            }
        }
        this.poll_waiting(cx)
    }
}

impl<R: Resource> GetPooled<R> {
    #[cold]
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        let site = self.site;
        let mut waiting: CheckOut<R> = match mem::replace(&mut self.step, Step::Over) {
            Step::First(pool) => Box::pin(async move { pool.check_out(site).await }),
            Step::Waiting(waiting) => waiting,
            Step::Over => panic!("`GetPooled` polled after it has ended"),
        };
        let outcome = waiting.as_mut().poll(cx);
        if outcome.is_pending() {
            self.step = Step::Waiting(waiting);
        }
        outcome
    }
}

impl<R: Resource> fmt::Debug for GetPooled<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetPooled").field("waiting", &matches!(self.step, Step::Waiting(_))).finish_non_exhaustive()
    }
}
