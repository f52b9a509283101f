//! The one door to the clock. It is tokio's, so that a paused clock is obeyed.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Stage};
use crate::rt::runtime::{Runtime, Sleep, sleep_until};

/// A point in time at which patience ends. The timer behind it is made at the first poll: what is ready at once
/// never pays for one.
pub(crate) struct Deadline {
    began: Instant,
    at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn after(patience: Duration) -> Self {
        let began = Instant::now();
        // A patience that overflows the clock is as good as a century.
        let at = began.checked_add(patience).unwrap_or_else(|| began + Duration::from_secs(3_153_600_000));
        Deadline { began, at, timer: None }
    }

    pub(crate) fn has_passed(&self) -> bool {
        Instant::now() >= self.at
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The same point in time, for the next one who has to keep it.
    pub(crate) fn again(&self) -> Self {
        Deadline { began: self.began, at: self.at, timer: None }
    }

    /// Ready when the time has come; the answer is the error for whoever is still in `stage` then. The same if there
    /// is no clock that could tell: an unbounded wait is no choice.
    pub(crate) fn poll_missed<C>(&mut self, stage: Stage, cx: &mut Context<'_>) -> Poll<Error<C>> {
        match self.poll(cx) {
            Ok(poll) => poll.map(|()| Error::timeout(stage, self.elapsed())),
            Err(missing) => Poll::Ready(Error::runtime(missing).at(stage)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
        if let Some(timer) = &mut self.timer {
            if let Ok(poll) = poll_timer(timer, cx) {
                return Ok(poll);
            }
            // The runtime that it was made on has ended. This one, if it is another, has timers of its own.
        }
        poll_timer(self.timer.insert(timer(self.at)?), cx)
    }
}

/// tokio panics where a runtime or its timers are missing, and has no question to ask before. The error is the text
/// of what the caller is told instead.
fn timer(at: Instant) -> Result<Pin<Box<Sleep>>, &'static str> {
    if Runtime::try_current().is_err() {
        return Err("not polled inside a tokio runtime");
    }
    catch_unwind(AssertUnwindSafe(|| Box::pin(sleep_until(at))))
        .map_err(|_| "this tokio runtime has no timers: build it with `enable_time` or `enable_all`")
}

/// The timer of a runtime that is shutting down panics when it is polled.
fn poll_timer(timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
    catch_unwind(AssertUnwindSafe(|| timer.as_mut().poll(cx))).map_err(|_| "this tokio runtime is shutting down")
}
