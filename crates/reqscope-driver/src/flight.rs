use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::runtime::{Handle, Id};
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::dial::after;

/// Counts the operations in flight on a connection, and limits the time of each.
///
/// The answer to an operation whose future was dropped is still on its way, and the next user of the connection would
/// read it as its own. So an operation counts from before its first `await` until after its last, and one that was cut,
/// because its future was dropped or forgotten, missed its limit or panicked, counts forever: nothing has to run for
/// that. While [`is_clear`](Self::is_clear) returns `false`, a connection that no user has is not to be used again. Its
/// [`probe`](reqscope::Resource::probe) returns [`Dead`](reqscope::Health::Dead), and its release stops the operation on
/// the server.
///
/// Several operations may be in flight at the same time, as in a driver that pipelines. A driver that takes `&mut self`
/// has one at most: if the flight is not clear when the next one begins, an earlier one was cut.
///
/// ```
/// use reqscope_driver::Flight;
/// use std::future::pending;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let flight = Flight::new();
/// let limit = Duration::from_secs(30);
///
/// assert_eq!(flight.run(limit, async { 7 }).await, Ok(7));
/// assert!(flight.is_clear());
///
/// let late = flight.run(limit, pending::<()>()).await.unwrap_err();
/// assert_eq!(late.limit(), limit);
/// assert!(!flight.is_clear());
/// # }
/// ```
pub struct Flight {
    /// The number of operations that have begun and have not ended.
    ///
    /// Relaxed: a thread that may release a connection has received it from those that have used it.
    in_flight: AtomicU32,
    /// The timer of an operation that has ended, still set, for the next one. To set a new one and to remove it again
    /// would take longer than many operations do.
    timer: Mutex<Option<Timer>>,
}

impl Flight {
    /// Creates the flight of a new connection, which is clear.
    pub const fn new() -> Self {
        Flight { in_flight: AtomicU32::new(0), timer: Mutex::new(None) }
    }

    /// Returns whether no operation is in flight and none was cut.
    pub fn is_clear(&self) -> bool {
        self.in_flight.load(Relaxed) == 0
    }

    /// Runs an operation, for as long as `limit` allows; `None` is no limit.
    ///
    /// The limit begins when the operation has to wait for the first time.
    ///
    /// # Errors
    ///
    /// [`Overdue`], when the limit has passed. The operation is dropped, and stays in flight.
    ///
    /// # Panics
    ///
    /// The future panics if the operation does, and if it has to wait with a limit where tokio has no timers.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped after its first poll leaves its operation in flight.
    pub fn run<F: Future>(&self, limit: impl Into<Option<Duration>>, operation: F) -> Run<'_, F> {
        Run { flight: self, begun: false, limit: limit.into(), timer: None, operation }
    }

    /// Marks an operation as in flight until [`Mark::clear`], for one that is not a future, such as a stream of rows.
    ///
    /// ```
    /// # let flight = reqscope_driver::Flight::new();
    /// let rows = flight.mark();
    /// // … until all rows are read
    /// rows.clear();
    /// assert!(flight.is_clear());
    /// ```
    pub fn mark(&self) -> Mark<'_> {
        self.begin();
        Mark(self)
    }

    /// Forgets the operations that were cut, once the connection was proved to be clean.
    ///
    /// ```
    /// # let mut flight = reqscope_driver::Flight::new();
    /// drop(flight.mark());
    /// assert!(!flight.is_clear());
    /// // … the connection was reset, which also reads the answer
    /// flight.reset();
    /// assert!(flight.is_clear());
    /// ```
    pub fn reset(&mut self) {
        *self.in_flight.get_mut() = 0;
    }

    fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Returns a timer that is set to that time or an earlier one.
    fn timer_until(&self, until: Instant) -> Timer {
        let runtime = Handle::current().id();
        let kept = self.timer.lock().take();
        // A timer of another runtime would need that one to be driven. One that has elapsed may be of a runtime that has
        // ended, and panics if it is polled.
        match kept.filter(|timer| timer.runtime == runtime && !timer.sleep.is_elapsed()) {
            Some(mut timer) => {
                if until < timer.sleep.deadline() {
                    timer.sleep.as_mut().reset(until);
                }
                timer
            }
            None => Timer { sleep: Box::pin(sleep_until(until)), runtime },
        }
    }

    /// Keeps the timer of an operation that has ended.
    fn keep(&self, mut timer: Timer) {
        // It must not keep the task, which may end long before it.
        if timer.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            *self.timer.lock() = Some(timer);
        }
    }
}

impl Default for Flight {
    fn default() -> Self {
        Flight::new()
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

/// An operation that is in flight until [`clear`](Self::clear). If it is dropped instead, it was cut, and stays in
/// flight.
///
/// ```
/// let flight = reqscope_driver::Flight::new();
/// drop(flight.mark());
/// assert!(!flight.is_clear());
/// ```
#[derive(Debug)]
#[must_use = "an operation that is dropped was cut"]
pub struct Mark<'a>(&'a Flight);

impl Mark<'_> {
    /// Ends the operation, when nothing of its answer is left to read.
    pub fn clear(self) {
        self.0.end();
    }
}

/// The time limit of an operation has passed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let limit = std::time::Duration::from_secs(30);
/// let late = reqscope_driver::Flight::new().run(limit, std::future::pending::<()>()).await.unwrap_err();
/// assert_eq!(late.to_string(), "the operation took longer than 30s");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue(Duration);

impl Overdue {
    /// Returns the limit.
    pub fn limit(&self) -> Duration {
        self.0
    }
}

impl fmt::Display for Overdue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operation took longer than {:?}", self.0)
    }
}

impl std::error::Error for Overdue {}

pin_project! {
    /// The future of [`Flight::run`].
    ///
    /// # Cancel safety
    ///
    /// If it is dropped after its first poll, its operation was cut, and stays in flight.
    ///
    /// ```
    /// use reqscope_driver::{Flight, Run};
    /// use std::future::{Ready, ready};
    ///
    /// fn answer(flight: &Flight) -> Run<'_, Ready<u8>> {
    ///     flight.run(None, ready(7))
    /// }
    /// # drop(answer(&Flight::new()));
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct Run<'a, F> {
        flight: &'a Flight,
        begun: bool,
        limit: Option<Duration>,
        // Once the operation has had to wait.
        timer: Option<(Instant, Timer)>,
        #[pin]
        operation: F,
    }
}

impl<F: Future> Future for Run<'_, F> {
    type Output = Result<F::Output, Overdue>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let run = self.project();
        // Before the operation is polled, which may be the last that happens here.
        if !mem::replace(run.begun, true) {
            run.flight.begin();
        }
        if let Poll::Ready(output) = run.operation.poll(cx) {
            run.flight.end();
            if let Some((_until, timer)) = run.timer.take() {
                run.flight.keep(timer);
            }
            return Poll::Ready(Ok(output));
        }
        let Some(limit) = *run.limit else { return Poll::Pending };
        let (until, timer) = run.timer.get_or_insert_with(|| {
            let until = after(limit);
            (until, run.flight.timer_until(until))
        });
        // A future may move to another runtime, and the one before need not be driven any more.
        if Handle::try_current().is_ok_and(|current| current.id() != timer.runtime) {
            *timer = run.flight.timer_until(*until);
        }
        timer.poll_until(*until, cx).map(|()| Err(Overdue(limit)))
    }
}

/// A timer of tokio that is set.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    runtime: Id,
}

impl Timer {
    /// Waits until that time. A timer that is set to an earlier one is set again when that has passed.
    fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll(cx).is_ready() && self.sleep.deadline() < until {
            self.sleep.as_mut().reset(until);
            return self.poll(cx);
        }
        if self.sleep.is_elapsed() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Outside of the budget of tokio's cooperation: an operation that uses up the budget in each poll would leave none
    /// for its limit, which would never pass.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        pin!(coop::unconstrained(self.sleep.as_mut())).poll(cx)
    }
}
