//! The only access to the clock, which is tokio's, so that tests can pause it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Stage};
use crate::rt::catch::Quiet;
use crate::rt::runtime::{Runtime, RuntimeId, Sleep, coop, sleep_until};

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
    /// Dropped quietly, because it holds a waker.
    timer: Option<Quiet<Timer>>,
    /// Whether it is the deadline of the request, and not of the operation.
    is_requests: bool,
}

/// A timer, and the runtime that it belongs to.
struct Timer {
    /// Fires at the deadline or before.
    sleep: Pin<Box<Sleep>>,
    runtime: RuntimeId,
}

impl Timer {
    /// Lets the timer fire at that time, if it would fire later.
    fn advance(&mut self, at: Instant) {
        if at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
        }
    }
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
        if let Some(timer) = &mut self.timer {
            // A task that has moved to another runtime must not rely on the timers of the one before, which may have
            // ended, or stand still although it has not.
            if Runtime::try_current().map_or(true, |current| current.id() == timer.runtime) {
                let mut polled = poll_timer(&mut timer.sleep, cx);
                if matches!(polled, Ok(Poll::Ready(()))) && now() < self.at {
                    timer.sleep.as_mut().reset(self.at);
                    polled = poll_timer(&mut timer.sleep, cx);
                }
                if let Ok(poll) = polled {
                    return Ok(poll);
                }
            }
        }
        poll_timer(&mut self.timer.insert(Quiet::new(timer(self.at)?)).sleep, cx)
    }
}

/// Returns whether the caller is on a runtime whose timers work.
#[cold]
pub(crate) fn has_timers() -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    timer(Instant::now()).is_ok_and(|mut timer| poll_timer(&mut timer.sleep, &mut cx).is_ok())
}

/// Creates a timer, or returns the message of an error. tokio panics if the runtime or its timers are missing, and has
/// no way to check first.
fn timer(at: Instant) -> Result<Timer, &'static str> {
    let Ok(runtime) = Runtime::try_current() else { return Err("not polled inside a tokio runtime") };
    let sleep = catch_unwind(AssertUnwindSafe(|| Box::pin(sleep_until(at))))
        .map_err(|_| "this tokio runtime has no timers: build it with `enable_time` or `enable_all`")?;
    Ok(Timer { sleep, runtime: runtime.id() })
}

/// Polls a timer, which panics if its runtime is shutting down.
///
/// Outside of the budget of tokio's cooperation: an operation that uses up the budget in each poll would leave none for
/// its deadline, which would never pass.
fn poll_timer(timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> Result<Poll<()>, &'static str> {
    catch_unwind(AssertUnwindSafe(|| pin!(coop::unconstrained(timer.as_mut())).poll(cx)))
        .map_err(|_| "this tokio runtime is shutting down")
}
