//! The only access to the clock, which is tokio's, so that tests can pause it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Stage};
use crate::rt::catch::Quiet;
use crate::rt::runtime::{Runtime, Sleep, sleep_until};

/// A deadline. Its timer is created at the first poll, so an operation that is ready at once does not pay for one.
pub(crate) struct Deadline {
    began: Instant,
    at: Instant,
    /// Dropped quietly, because it holds a waker.
    timer: Option<Quiet<Pin<Box<Sleep>>>>,
    /// Whether it is the deadline of the request, and not of the operation.
    is_requests: bool,
}

const REQUEST_LATE: &str = "the deadline of the request has passed";

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        let began = Instant::now();
        // A timeout that overflows the clock becomes a century.
        let at = began.checked_add(timeout).unwrap_or_else(|| began + Duration::from_secs(3_153_600_000));
        Deadline { began, at, timer: None, is_requests: false }
    }

    /// Returns the deadline of the request instead, if that is earlier. The error of a miss then says so.
    pub(crate) fn or_of_request(mut self, request: Option<std::time::Instant>) -> Self {
        if let Some(request) = request.map(Instant::from_std).filter(|request| *request < self.at) {
            (self.at, self.is_requests) = (request, true);
        }
        self
    }

    /// Returns whether this is the deadline of the request.
    pub(crate) fn is_requests(&self) -> bool {
        self.is_requests
    }

    /// Returns the error of an operation in `stage` that a request begins after its deadline.
    pub(crate) fn refuse_late<C>(request: std::time::Instant, stage: Stage) -> Option<Error<C>> {
        let late = Instant::now() >= Instant::from_std(request);
        late.then(|| Error::timeout(stage, Duration::ZERO).with_context(REQUEST_LATE))
    }

    pub(crate) fn has_passed(&self) -> bool {
        Instant::now() >= self.at
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the same deadline for another operation, with a timer of its own.
    pub(crate) fn duplicate(&self) -> Self {
        Deadline { began: self.began, at: self.at, timer: None, is_requests: self.is_requests }
    }

    /// Waits until the deadline has passed, and returns the timeout error of an operation in `stage`. If there is no
    /// runtime with timers, it returns an error at once, because an operation must not wait without a limit (law L12).
    pub(crate) fn poll_missed<C>(&mut self, stage: Stage, cx: &mut Context<'_>) -> Poll<Error<C>> {
        match self.poll(cx) {
            Ok(poll) => poll.map(|()| {
                let missed = Error::timeout(stage, self.elapsed());
                if self.is_requests { missed.with_context(REQUEST_LATE) } else { missed }
            }),
            Err(missing) => Poll::Ready(Error::runtime(missing).at(stage)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
        if let Some(timer) = &mut self.timer {
            if let Ok(poll) = poll_timer(timer, cx) {
                return Ok(poll);
            }
            // The runtime of this timer has ended. The current one, if it is another, has timers of its own.
        }
        poll_timer(self.timer.insert(Quiet::new(timer(self.at)?)), cx)
    }
}

/// Creates a timer, or returns the message of an error. tokio panics if the runtime or its timers are missing, and has
/// no way to check first.
fn timer(at: Instant) -> Result<Pin<Box<Sleep>>, &'static str> {
    if Runtime::try_current().is_err() {
        return Err("not polled inside a tokio runtime");
    }
    catch_unwind(AssertUnwindSafe(|| Box::pin(sleep_until(at))))
        .map_err(|_| "this tokio runtime has no timers: build it with `enable_time` or `enable_all`")
}

/// Polls a timer, which panics if its runtime is shutting down.
fn poll_timer(timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
    catch_unwind(AssertUnwindSafe(|| timer.as_mut().poll(cx))).map_err(|_| "this tokio runtime is shutting down")
}
