use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::{Chain, Error};
use crate::details::Label;

/// The figures of a pool at the moment when a caller got no handle: the data behind the message of an [`Error`], for
/// logs, metrics or a status page.
///
/// [`Error::shortage`] returns it. Its `Display` is the part of the message after the colon. Figures that are zero or
/// unknown are left out, except the number of handles in use. All figures are of the same moment.
///
/// # Secrets
///
/// The last connect failure is the only part with text from a driver: the `Display` of the driver's error and of its
/// sources. If a driver's errors quote the password of a URL, the resource's [`acquire`](crate::Resource::acquire) must
/// remove it.
///
/// # Examples
///
/// What an operator checks first:
///
/// ```
/// use reqscope::error::Shortage;
/// use reqscope::Error;
///
/// fn advice<C>(error: &Error<C>) -> Option<&'static str> {
///     let shortage: &Shortage = error.shortage()?;
///     Some(match shortage {
///         _ if shortage.own.is_some() => "a request acquires two handles: pass the first one on",
///         _ if shortage.last_failure.is_some() => "look at the database",
///         _ if shortage.in_use == shortage.max_size => "all handles are held: look at the oldest holder",
///         _ => "connecting is slow",
///     })
/// }
/// # use std::io;
/// # assert!(advice(&Error::<io::Error>::closed()).is_none());
/// # let error = Error::<io::Error>::exhausted().with_shortage(Shortage::default());
/// # assert!(advice(&error).unwrap().starts_with("all handles"));
/// ```
///
/// A pool of your own can return the same message. Start from `default`, in which all figures are zero, and set what is
/// known:
///
/// ```
/// use reqscope::error::{Holding, Shortage, Stage};
/// use reqscope::Error;
/// # use std::io;
/// use std::{panic::Location, time::Duration};
///
/// # struct MySql;
/// let mut shortage = Shortage::default();
/// shortage.resource = Some(std::any::type_name::<MySql>());
/// shortage.max_size = 10;
/// shortage.in_use = 10;
/// shortage.waiting = 41;
/// shortage.oldest = Some(Holding::new(Location::caller(), Duration::from_secs(28)));
///
/// let error = Error::<io::Error>::timeout(Stage::Waiting, Duration::from_secs(5)).with_shortage(shortage);
/// let message = error.to_string();
/// let start = "timed out after 5.0 s waiting for a handle of Pool<MySql>: 10 of 10 in use, 41 waiting; ";
/// assert!(message.starts_with(start));
/// assert!(message.contains("; oldest holder 28 s, taken at "));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Shortage {
    /// The type of the pool's resource, as [`std::any::type_name`] returns it. The error shows it without paths.
    pub resource: Option<&'static str>,
    /// The name of the pool, if it [has a name](crate::pool::PoolBuilder::name).
    pub name: Option<Cow<'static, str>>,
    /// Whether the pool was [paused](crate::Pool::pause), so that no caller got a handle.
    pub paused: bool,
    /// The maximum number of handles.
    pub max_size: usize,
    /// The number of handles that were checked out or being returned: a handle is in use until its release has ended
    /// (law L13).
    pub in_use: usize,
    /// The number of idle handles.
    pub idle: usize,
    /// The number of handles that were being created.
    pub creating: usize,
    /// The number of waiters in the queue, including the caller that got this error if it waited.
    pub waiting: usize,
    /// The handle that had been checked out for the longest time.
    pub oldest: Option<Holding>,
    /// Why the last attempt to create a handle failed, if none has succeeded since.
    pub last_failure: Option<ConnectFailure>,
    /// The line of code where the waiting scope had taken a handle that it still holds. If all holders wait like this,
    /// the pool is in a deadlock: pass the first handle on instead of acquiring a second one.
    pub own: Option<&'static Location<'static>>,
}

/// A handle that is checked out: the line of code that took it, and how long ago. In a [`Shortage`] it is the handle
/// that has been checked out longest.
///
/// ```
/// use reqscope::error::Holding;
/// use std::{panic::Location, time::Duration};
///
/// let report = Holding::new(Location::caller(), Duration::from_secs(28));
/// assert!(report.taken_at.file().ends_with(".rs"));
/// assert_eq!(report.held.as_secs(), 28);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holding {
    /// The line of code that took the handle: the call of `Lazy::get` or `Lease::acquire`.
    pub taken_at: &'static Location<'static>,
    /// How long the handle had been checked out.
    pub held: Duration,
    /// The [label](crate::ScopeHandle::set_label) of the request that took it, if it has one.
    pub label: Option<Label>,
}

/// A failed attempt to create a handle, as part of a [`Shortage`].
///
/// `Debug` shows the error and its sources by their `Display`, because it is meant for logs.
///
/// ```
/// use reqscope::error::ConnectFailure;
/// use reqscope::Error;
/// use std::{io, time::Duration};
///
/// let refused = Error::failed(io::Error::other("connection refused"));
/// let failure = ConnectFailure::new(&refused, Duration::from_millis(1_100));
/// assert_eq!(failure.error.to_string(), "connection refused");
///
/// let late = Error::<io::Error>::timeout(reqscope::error::Stage::Acquiring, Duration::from_secs(2));
/// let failure = ConnectFailure::new(&late, Duration::ZERO);
/// assert_eq!(failure.error.to_string(), "timed out after 2.0 s while acquiring");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ConnectFailure {
    /// The resource's own error if there was one, otherwise the [`Error`] of the attempt: a timeout, a panic. It is
    /// shared with the callers that waited for that attempt.
    pub error: Arc<dyn StdError + Send + Sync>,
    /// How long ago the attempt failed.
    pub ago: Duration,
}

impl Holding {
    /// Creates an entry for a handle that was taken at `taken_at` and has been checked out for `held`.
    pub fn new(taken_at: &'static Location<'static>, held: Duration) -> Self {
        Holding { taken_at, held, label: None }
    }

    /// Adds the label of the request that took the handle.
    ///
    /// ```
    /// use reqscope::error::{Holding, Shortage};
    /// # use std::{panic::Location, time::Duration};
    ///
    /// let mut shortage = Shortage::default();
    /// let oldest = Holding::new(Location::caller(), Duration::from_secs(28));
    /// shortage.oldest = Some(oldest.with_label("GET /orders/{id}"));
    /// assert!(shortage.to_string().ends_with(" by GET /orders/{id}"));
    /// ```
    #[must_use]
    pub fn with_label(mut self, label: impl Into<Label>) -> Self {
        self.label = Some(label.into());
        self
    }
}

impl ConnectFailure {
    /// Creates an entry for an error that [`Resource::acquire`](crate::Resource::acquire) returned; `ago` is the time
    /// since then.
    pub fn new<C: StdError + Send + Sync + 'static>(error: &Error<C>, ago: Duration) -> Self {
        let error: Arc<dyn StdError + Send + Sync> = match &error.0.cause {
            Some(cause) => Arc::<C>::clone(cause),
            None => Arc::new(error.clone()),
        };
        ConnectFailure { error, ago }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage {
            resource: _,
            name,
            paused,
            max_size,
            in_use,
            idle,
            creating,
            waiting,
            oldest,
            last_failure,
            own,
        } = self;
        if let Some(name) = name {
            write!(f, "pool {name}: ")?;
        }
        if *paused {
            f.write_str("paused; ")?;
        }
        write!(f, "{in_use} of {max_size} in use")?;
        for (figure, what) in [(idle, "idle"), (creating, "creating"), (waiting, "waiting")] {
            if *figure > 0 {
                write!(f, ", {figure} {what}")?;
            }
        }
        if let Some(Holding { taken_at, held, label }) = oldest {
            let (held, file, line) = (Seconds(*held), taken_at.file(), taken_at.line());
            write!(f, "; oldest holder {held}, taken at {file}:{line}")?;
            if let Some(label) = label {
                write!(f, " by {label}")?;
            }
        }
        if let Some(ConnectFailure { error, ago }) = last_failure {
            write!(f, "; last connect failure {} ago: {}", Seconds(*ago), Chain(error))?;
        }
        if let Some(own) = own {
            let (file, line) = (own.file(), own.line());
            write!(f, "; this request already holds a handle, taken at {file}:{line}")?;
            f.write_str(": pass that one on instead of acquiring a second one")?;
        }
        Ok(())
    }
}

/// Shows whole seconds, with one decimal below ten seconds.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0 < Duration::from_secs(10) { 1 } else { 0 };
        write!(f, "{:.digits$} s", self.0.as_secs_f64())
    }
}

impl fmt::Debug for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = Chain(&self.error).to_string();
        f.debug_struct("ConnectFailure").field("error", &format_args!("{error}")).field("ago", &self.ago).finish()
    }
}
