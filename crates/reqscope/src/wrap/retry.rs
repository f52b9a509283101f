use std::future::poll_fn;
use std::time::Duration;

use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::context::AcquireContext;
use crate::observer::Subject;
use crate::resource::{Health, Resource};
use crate::rt::rand;
use crate::rt::time::Deadline;

/// Tries again to acquire, with growing pauses in between.
///
/// Only `acquire` is tried again, and not after an error that is [permanent](Error::is_permanent). A release is
/// never repeated: nobody knows what the first one has done. The caller gets the error of the last attempt; the
/// observer hears of the earlier ones, and they count in
/// [`Stats::acquire_failed`](crate::stats::Stats::acquire_failed).
///
/// All attempts and pauses together have the time of one acquisition; see
/// [`ResourceExt`](crate::ResourceExt) for where a [`Timeout`](crate::wrap::Timeout) belongs. It needs a tokio runtime with
/// timers as soon as it pauses, and answers with an error where there is none.
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
/// let patient = Arc::new(Retry::new(starting_up, RetryPolicy::new()));
///
/// let lease = Lease::acquire(&patient).await.unwrap();
/// assert_eq!(*lease, 2);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Retry<R> {
    inner: R,
    policy: RetryPolicy,
}

impl<R> Retry<R> {
    /// Tries again as `policy` says.
    pub fn new(inner: R, policy: RetryPolicy) -> Self {
        Retry { inner, policy }
    }

    /// The resource inside.
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

    /// Takes the resource out.
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
            // Dropped here, the attempt owns what it has half-made; dropped in the pause, there is nothing.
            let error = match self.inner.acquire().await {
                Err(error) if attempt < self.policy.attempts && !error.is_permanent() => error,
                outcome => return outcome,
            };
            if let Some(context) = AcquireContext::current() {
                let subject = Subject::of::<R>(context.origin.taken_at);
                context.reaper.accounting().acquire_failed(subject, &error);
            }
            let mut pause = Deadline::after(self.policy.pause(attempt));
            let over = poll_fn(|cx| pause.poll_missed::<R::Cause>(Stage::Acquiring, cx)).await;
            if !over.is_timeout() {
                // No timers: say so, rather than hammer the backend without a pause.
                return Err(over);
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

/// How often, and after which pauses, [`Retry`] tries again.
///
/// The pause before attempt *n* is a random time between zero and `first_pause * 2^(n-2)`, at most `longest_pause`
/// ("full jitter": callers that failed together do not come back together).
///
/// ```
/// use reqscope::wrap::RetryPolicy;
/// use std::time::Duration;
///
/// // A backend whose restart takes ten seconds.
/// let patient = RetryPolicy::new()
///     .attempts(10)
///     .first_pause(Duration::from_millis(200))
///     .longest_pause(Duration::from_secs(2));
/// # drop(Some(patient));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RetryPolicy {
    attempts: u32,
    first_pause: Duration,
    longest_pause: Duration,
}

impl RetryPolicy {
    /// The defaults below.
    pub fn new() -> Self {
        RetryPolicy { attempts: 5, first_pause: Duration::from_millis(50), longest_pause: Duration::from_secs(1) }
    }

    /// How many attempts there are in all, the first one included. Default: 5, whose default pauses add up to 0.4 s on
    /// average and 0.75 s at most: enough for a hiccup, while a longer outage is told quickly. Zero counts as one.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The longest possible first pause; the bound doubles with each attempt. Default: 50 ms, about the time that a
    /// local server needs to accept connections again.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// Where the doubling ends. Default: 1 s, since a client that waits longer has gone.
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
