//! The only access to the clock, which is tokio's, so that tests can pause it.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Stage};
use crate::rt::timer::Timer;

/// Returns the time.
#[cfg(not(all(test, reqscope_loom)))]
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the time of a model, in which none passes: each run of an order must take the same branches.
#[cfg(all(test, reqscope_loom))]
pub(crate) fn now() -> Instant {
    static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

/// A deadline. Its timer is created at the first poll, so an operation that is ready at once does not pay for one.
pub(crate) struct Deadline {
    began: Instant,
    at: Instant,
    timer: Option<Timer>,
    /// Whether it is the deadline of the request, and not of the operation.
    is_requests: bool,
}

const REQUEST_LATE: &str = "the deadline of the request has passed";

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self::from(now(), timeout)
    }

    /// Returns the deadline of an operation that began at that time.
    pub(crate) fn from(began: Instant, timeout: Duration) -> Self {
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
        let late = now() >= Instant::from_std(request);
        late.then(|| Error::timeout(stage, Duration::ZERO).with_context(REQUEST_LATE))
    }

    /// Replaces the deadline, and keeps the timer's allocation. A timer that fires before the new deadline is set again
    /// only when it has fired, because most waits end before.
    pub(crate) fn replace(&mut self, next: Deadline) {
        let timer = self.timer.take();
        *self = Deadline { timer, ..next };
        if let Some(timer) = &mut self.timer {
            timer.advance(self.at);
        }
    }

    pub(crate) fn has_passed(&self) -> bool {
        now() >= self.at
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

    /// Waits until the deadline has passed, as [`poll_missed`](Deadline::poll_missed) does, or until `earlier`. Returns
    /// `None` if only that has passed.
    pub(crate) fn poll_missed_or<C>(
        &mut self,
        earlier: Option<Instant>,
        stage: Stage,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Error<C>>> {
        let Some(earlier) = earlier.filter(|earlier| *earlier < self.at) else {
            return self.poll_missed(stage, cx).map(Some);
        };
        let at = std::mem::replace(&mut self.at, earlier);
        if let Some(timer) = &mut self.timer {
            timer.advance(earlier);
        }
        let poll = self.poll(cx);
        self.at = at;
        match poll {
            Ok(poll) => poll.map(|()| None),
            Err(missing) => Poll::Ready(Some(Error::runtime(missing).at(stage))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
        let began = self.timer.is_some();
        let polled = self.poll_on_time(cx)?;
        // No timer fires while nothing runs the driver of its runtime, as when a task blocks its thread between two polls.
        let late = began && polled.is_pending() && self.has_passed();
        Ok(if late { Poll::Ready(()) } else { polled })
    }

    /// Waits for the timer, which trusts its runtime.
    fn poll_on_time(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
        let timer = self.timer.as_mut().filter(|timer| timer.is_from_here());
        if let Some(Ok(poll)) = timer.map(|timer| timer.poll(self.at, cx)) {
            return Ok(poll);
        }
        self.timer.insert(Timer::set(self.at)?).poll(self.at, cx)
    }
}

/// Returns whether the caller is on a runtime whose timers work.
#[cold]
pub(crate) fn has_timers() -> bool {
    let (now, mut cx) = (now(), Context::from_waker(Waker::noop()));
    Timer::set(now).is_ok_and(|mut timer| timer.poll(now, &mut cx).is_ok())
}
