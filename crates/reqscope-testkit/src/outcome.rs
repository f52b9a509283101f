use std::fmt;
use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// What one call through a [`Gate`](crate::Gate) will do: first wait, if it was told to, then end.
///
/// ```
/// use reqscope_testkit::Outcome;
///
/// let slow_failure = Outcome::error().after_polls(2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "an outcome does nothing until a gate is given it"]
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

/// How a call ends, once it has waited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Ok,
    Error,
    Permanent,
    Panic,
    Never,
}

impl Outcome {
    /// The call succeeds.
    pub fn ok() -> Self {
        Self::at_once(End::Ok)
    }

    /// The call fails with [`Scripted`], and trying again may help.
    pub fn error() -> Self {
        Self::at_once(End::Error)
    }

    /// The call fails with [`Scripted`], and trying again cannot help.
    pub fn permanent() -> Self {
        Self::at_once(End::Permanent)
    }

    /// The call panics when it is polled. Nothing is printed, as with [`quiet_panic`](crate::quiet_panic).
    pub fn panic() -> Self {
        Self::at_once(End::Panic)
    }

    /// The call never ends. It can only be dropped.
    pub fn never() -> Self {
        Self::at_once(End::Never)
    }

    fn at_once(end: End) -> Self {
        Outcome { delay: Delay::None, end }
    }

    /// Before it ends, the call is pending `polls` times.
    ///
    /// It wakes itself each time, so it needs no clock and no runtime, and each of those polls is a place to be
    /// cancelled at.
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

    /// Before it ends, the call sleeps on tokio's clock, which a test may have paused.
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

    /// Waits as told, and hands the end over to the caller to act it out.
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

/// Pending `polls` times, each time woken at once.
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

/// As a verb: "fails after 2 polls".
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.end {
            End::Ok => "succeeds",
            End::Error => "fails",
            End::Permanent => "fails for good",
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

/// The error of everything that was told to fail.
///
/// ```
/// use reqscope_testkit::{Gate, poll_once};
/// use std::{pin::pin, task::Poll};
///
/// let gate = Gate::open();
/// gate.error();
/// let Poll::Ready(Err(error)) = poll_once(pin!(gate.pass())) else { panic!("it was told to fail") };
/// assert_eq!(error.cause().unwrap().to_string(), "told to fail");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scripted;

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told to fail")
    }
}

impl std::error::Error for Scripted {}
