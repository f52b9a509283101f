use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::checkout::{Entered, First};
use super::inner::Inner;
use super::place::Place;
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
    /// `None`: it is over. What is over is dropped at a glance.
    step: Option<Step<R>>,
    site: Site,
}

enum Step<R: Resource> {
    /// The pool moves on, into what is taken or into a later step.
    First(Arc<Inner<R>>),
    /// In the line, without a timer.
    Queued(Place<R>),
    CheckOut(CheckOut<R>),
}

impl<R: Resource> GetPooled<R> {
    #[inline]
    pub(super) fn new(pool: &Arc<Inner<R>>, site: Site) -> Self {
        GetPooled { step: Some(Step::First(Arc::clone(pool))), site }
    }
}

impl<R: Resource> Future for GetPooled<R> {
    type Output = Result<Pooled<R>, Error<R::Cause>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(Step::First(pool)) = &this.step {
            if let Some((slot, handle)) = pool.take_alone(this.site) {
                if let Some(Step::First(pool)) = this.step.take() {
                    return Poll::Ready(Ok(Pooled::new(pool, slot, handle)));
                }
            }
        }
        this.poll_line(cx)
    }
}

impl<R: Resource> GetPooled<R> {
    /// What there is to do in a crowd: to queue, and to hear of the grant.
    #[inline(never)]
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        let begun = match self.step.take().expect("`GetPooled` polled after it has ended") {
            Step::First(pool) => match pool.take_or_queue(self.site, cx.waker()) {
                Some(First::Taken(slot, handle)) => return Poll::Ready(Ok(Pooled::new(pool, slot, handle))),
                Some(First::Queued(ticket)) => {
                    self.step = Some(Step::Queued(Place::new(pool, ticket)));
                    return Poll::Pending;
                }
                None => (pool, None),
            },
            Step::Queued(mut place) => match place.hear() {
                Some(taken) if taken.is_sound() => return Poll::Ready(Ok(taken.pooled)),
                Some(taken) => (Arc::clone(taken.pooled.pool()), Some(Entered::Taken(taken))),
                // The attendant has been here, or something may have come of what is left to do.
                None => (Arc::clone(place.pool()), Some(Entered::Waiting(place))),
            },
            Step::CheckOut(check_out) => return self.poll_check_out(check_out, cx),
        };
        self.begin_check_out(begun, cx)
    }

    #[cold]
    fn begin_check_out(
        &mut self,
        (pool, begun): (Arc<Inner<R>>, Option<Entered<R>>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        self.poll_check_out(Box::pin(pool.check_out(self.site, begun)), cx)
    }

    #[cold]
    fn poll_check_out(
        &mut self,
        mut check_out: CheckOut<R>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Pooled<R>, Error<R::Cause>>> {
        let outcome = check_out.as_mut().poll(cx);
        if outcome.is_pending() {
            self.step = Some(Step::CheckOut(check_out));
        }
        outcome
    }
}

impl<R: Resource> fmt::Debug for GetPooled<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetPooled")
            .field("waiting", &matches!(self.step, Some(Step::Queued(_) | Step::CheckOut(_))))
            .finish_non_exhaustive()
    }
}
