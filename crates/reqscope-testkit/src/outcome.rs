use std::fmt;
use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// What one call through a [`Gate`](crate::Gate) does: it waits, if it has a delay, and then ends.
///
/// ```
/// use reqscope_testkit::Outcome;
///
/// let slow_failure = Outcome::error().after_polls(2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "an outcome does nothing until it is given to a gate"]
pub struct Outcome {
    delay: Delay,
    end: End,
}

#[derive(Clone, Debug)]
enum Delay {
    None,
    Polls(usize),
    Time(Duration),
}

/// How a call ends after its delay.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Ok,
    Error,
    Permanent,
    Panic,
    Never,
}

impl Outcome {
    /// Creates an outcome: the call succeeds.
    pub fn ok() -> Self {
        Self::at_once(End::Ok)
    }

    /// Creates an outcome: the call fails with [`Scripted`], as a temporary error.
    pub fn error() -> Self {
        Self::at_once(End::Error)
    }

    /// Creates an outcome: the call fails with [`Scripted`], as a permanent error.
    pub fn permanent() -> Self {
        Self::at_once(End::Permanent)
    }

    /// Creates an outcome: the call panics when it is polled. The panic is not printed; see
    /// [`quiet_panic`](crate::quiet_panic).
    pub fn panic() -> Self {
        Self::at_once(End::Panic)
    }

    /// Creates an outcome: the call never ends, and can only be dropped.
    pub fn never() -> Self {
        Self::at_once(End::Never)
    }

    fn at_once(end: End) -> Self {
        Outcome { delay: Delay::None, end }
    }

    /// Delays the end: the call is pending `polls` times before.
    ///
    /// The call wakes its task each time, so it needs no clock and no runtime. Each of those polls is a point where the
    /// call can be cancelled.
    ///
    /// ```
    /// use reqscope_testkit::{Gate, Outcome, poll_n};
    /// use std::pin::pin;
    ///
    /// let gate = Gate::open();
    /// gate.next(Outcome::error().after_polls(2));
    /// let mut call = pin!(gate.pass());
    /// assert!(poll_n(2, call.as_mut()).is_pending());
    /// assert!(poll_n(1, call).is_ready());
    /// ```
    pub fn after_polls(self, polls: usize) -> Self {
        Outcome { delay: Delay::Polls(polls), ..self }
    }

    /// Delays the end: the call sleeps before, on tokio's clock, which a test may have paused.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// use reqscope_testkit::{Gate, Outcome};
    /// use std::time::Duration;
    ///
    /// let gate = Gate::open();
    /// gate.next(Outcome::permanent().after(Duration::from_secs(60))); // no time at all on a paused clock
    /// assert!(gate.pass().await.unwrap_err().is_permanent());
    /// # });
    /// ```
    pub fn after(self, time: Duration) -> Self {
        Outcome { delay: Delay::Time(time), ..self }
    }

    /// Waits for the delay, and returns the end for the caller to carry out.
    pub(crate) async fn wait(self) -> End {
        match self.delay {
            Delay::None => {}
            Delay::Polls(polls) => pend(polls).await,
            Delay::Time(time) => tokio::time::sleep(time).await,
        }
        match self.end {
            End::Never => pending().await,
            end => end,
        }
    }
}

/// Returns pending `polls` times, and wakes the task each time.
async fn pend(mut polls: usize) {
    poll_fn(|cx| {
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Writes a verb: "fails after 2 polls".
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.end {
            End::Ok => "succeeds",
            End::Error => "fails",
            End::Permanent => "fails permanently",
            End::Panic => "panics",
            End::Never => "never ends",
        })?;
        match self.delay {
            Delay::None => Ok(()),
            Delay::Polls(polls) => write!(f, " after {polls} polls"),
            Delay::Time(time) => write!(f, " after {time:?}"),
        }
    }
}

/// The error of a call that fails because the test has scripted it.
///
/// ```
/// use reqscope_testkit::{Gate, poll_once};
/// use std::{pin::pin, task::Poll};
///
/// let gate = Gate::open();
/// gate.error();
/// let Poll::Ready(Err(error)) = poll_once(pin!(gate.pass())) else { panic!("it does not fail") };
/// assert_eq!(error.cause().unwrap().to_string(), "scripted failure");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scripted;

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted failure")
    }
}

impl std::error::Error for Scripted {}
