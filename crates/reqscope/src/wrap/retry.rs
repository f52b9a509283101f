use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::context::AcquireContext;
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::resource::Resource;
use crate::rt::rand;
use crate::rt::runtime::coop;
use crate::rt::time::Deadline;

/// Retries a failed `acquire`, with growing pauses.
///
/// Only `acquire` is retried, and not after a [permanent](Error::is_permanent) error. A release is never repeated,
/// because the effect of a failed one is unknown. The caller gets the error of the last attempt; the earlier ones are
/// reported to the observer, and counted in [`Stats::acquire_failed`](crate::stats::Stats::acquire_failed).
///
/// All attempts and pauses together share the time limit of one acquisition; see [`ResourceExt`](crate::ResourceExt)
/// for where to put a [`Timeout`](crate::wrap::Timeout). Pauses need a tokio runtime with timers; without one, a failed
/// `acquire` returns an error instead of retrying.
///
/// Two retries around clones of one [`Pool`](crate::Pool) are one resource with one handle in a scope. The policy of the
/// one that the request uses first applies.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use reqscope::wrap::{Retry, RetryPolicy};
/// use reqscope::{Lease, resource_fn};
/// use std::{io, sync::Arc, sync::atomic::{AtomicU32, Ordering}};
///
/// let calls = Arc::new(AtomicU32::new(0));
/// let starting_up = resource_fn({
///     let calls = calls.clone();
///     move || {
///         let call = calls.fetch_add(1, Ordering::Relaxed);
///         async move { if call < 2 { Err(io::Error::other("starting up").into()) } else { Ok(call) } }
///     }
/// });
/// let retry = Arc::new(Retry::new(starting_up, RetryPolicy::new()));
///
/// let lease = Lease::acquire(&retry).await.unwrap();
/// assert_eq!(*lease, 2);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Retry<R> {
    inner: R,
    policy: RetryPolicy,
}

impl<R> Retry<R> {
    /// Creates a wrapper that retries according to `policy`.
    pub fn new(inner: R, policy: RetryPolicy) -> Self {
        Retry { inner, policy }
    }

    /// Returns a reference to the inner resource.
    ///
    /// ```
    /// use reqscope::wrap::{Retry, RetryPolicy};
    ///
    /// let retry = Retry::new("any resource", RetryPolicy::new());
    /// assert_eq!(*retry.get_ref(), "any resource");
    /// assert_eq!(retry.into_inner(), "any resource");
    /// ```
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Returns the inner resource.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Resource> Resource for Retry<R> {
    type Handle = R::Handle;
    type Cause = R::Cause;

    async fn acquire(&self) -> Result<R::Handle, Error<R::Cause>> {
        let mut attempt = 1;
        loop {
            // If this future is dropped here, the attempt cleans up what it has half-made; in the pause there is
            // nothing to clean up.
            let error = match self.inner.acquire().await {
                Err(error) if attempt < self.policy.attempts && !error.is_permanent() => error,
                outcome => return outcome,
            };
            if let Some(context) = AcquireContext::current() {
                context.report_failed_attempt::<R>(&error);
            }
            let mut pause = Deadline::after(self.policy.pause(attempt));
            let missed = poll_fn(|cx| {
                // A pause of zero must leave the thread to others, too, and the task to the deadline of the acquisition.
                let budget = ready!(coop::poll_proceed(cx));
                let missed = ready!(pause.poll_missed::<R::Cause>(Stage::Acquiring, cx));
                budget.made_progress();
                Poll::Ready(missed)
            })
            .await;
            if !missed.is_timeout() {
                // There are no timers: return that error instead of retrying without a pause.
                return Err(missed);
            }
            attempt += 1;
        }
    }

    async fn validate(&self, handle: &mut R::Handle) -> Result<(), Error<R::Cause>> {
        self.inner.validate(handle).await
    }

    async fn release(&self, handle: R::Handle, exit: Exit) -> Result<(), Error<R::Cause>> {
        self.inner.release(handle, exit).await
    }

    forward_other_methods!();
}

/// The number of attempts of a [`Retry`], and the pauses between them.
///
/// The pause before attempt *n* is a random time between zero and `first_pause * 2^(n-2)`, at most `longest_pause`
/// ("full jitter": callers that failed at the same time retry at different times).
///
/// ```
/// use reqscope::wrap::RetryPolicy;
/// use std::time::Duration;
///
/// // A backend whose restart takes ten seconds.
/// let policy = RetryPolicy::new()
///     .attempts(10)
///     .first_pause(Duration::from_millis(200))
///     .longest_pause(Duration::from_secs(2));
/// # drop(Some(policy));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RetryPolicy {
    attempts: u32,
    first_pause: Duration,
    longest_pause: Duration,
}

impl RetryPolicy {
    /// Creates a policy with the defaults of the setters below.
    pub fn new() -> Self {
        RetryPolicy { attempts: 5, first_pause: Duration::from_millis(50), longest_pause: Duration::from_secs(1) }
    }

    /// Sets the maximum number of attempts, including the first one; zero counts as one. Defaults to 5, because the
    /// default pauses between them add up to 0.4 s on average and 0.75 s at most: enough for a short disruption, while
    /// a longer outage is reported quickly.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the upper bound of the first pause, which doubles with each attempt. Defaults to 50 ms, about the time in
    /// which a local server accepts connections again.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// Sets the upper bound of every pause, at which the doubling ends. Defaults to 1 s, because most clients do not
    /// wait for longer.
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause;
        self
    }

    fn pause(&self, attempt: u32) -> Duration {
        let doublings = (attempt - 1).min(31);
        let bound = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        bound.mul_f64(rand::fraction())
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}
