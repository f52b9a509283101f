//! The error of this crate, and its details.

mod stage;
mod shortage;
mod display;

use std::any::Any;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use shortage::{ConnectFailure, Holding, Shortage};
pub use stage::Stage;

/// The one error of the whole stack, with the resource's own error as its typed [`cause`](Error::cause).
///
/// However many wrappers stand around a resource, their error is `Error<R::Cause>`: there is nothing to unwrap
/// layer by layer. Ask it questions (`is_timeout`, `is_closed`, …) instead of matching on a kind.
///
/// It is `Clone`, because everybody who waited for one attempt gets the same answer; the clones share the cause.
/// `Display` says this level only, [`source`](std::error::Error::source) gives the cause.
///
/// Inside an implementation of [`Resource`](crate::Resource) the `?` operator turns the resource's own error into
/// this one:
///
/// ```
/// use reqscope::{Error, Resource};
/// use std::{fs::File, io};
///
/// struct Log(&'static str);
///
/// impl Resource for Log {
///     type Handle = File;
///     type Cause = io::Error;
///
///     async fn acquire(&self) -> Result<File, Error<io::Error>> {
///         Ok(File::options().append(true).open(self.0)?)
///     }
/// }
/// ```
///
/// Whoever answers a client asks questions of it:
///
/// ```
/// use reqscope::Error;
///
/// fn status<C>(error: &Error<C>) -> u16 {
///     match error {
///         _ if error.is_timeout() => 504,
///         _ if error.is_unavailable() || error.is_exhausted() || error.is_closed() => 503,
///         _ => 500,
///     }
/// }
///
/// # use std::io;
/// assert_eq!(status(&Error::<io::Error>::unavailable()), 503);
/// assert_eq!(status(&Error::<io::Error>::exhausted()), 503);
/// assert_eq!(status(&Error::<io::Error>::closed()), 503);
/// assert_eq!(status(&Error::failed(io::Error::other("no such table"))), 500);
/// ```
pub struct Error<C>(Arc<ErrorInner<C>>);

struct ErrorInner<C> {
    kind: Kind,
    stage: Option<Stage>,
    context: Option<Cow<'static, str>>,
    elapsed: Option<Duration>,
    holder: Option<&'static Location<'static>>,
    /// Boxed: few errors have one, and it is larger than all the rest.
    shortage: Option<Box<Shortage>>,
    permanent: bool,
    cause: Option<Arc<C>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Timeout,
    Closed,
    Unavailable,
    Exhausted,
    Panicked,
    Runtime,
}

impl<C> Error<C> {
    fn of(kind: Kind) -> Self {
        Error(Arc::new(ErrorInner {
            kind,
            stage: None,
            context: None,
            elapsed: None,
            holder: None,
            shortage: None,
            permanent: false,
            cause: None,
        }))
    }

    /// The resource itself failed, and trying again may help.
    ///
    /// The same as `Error::from(cause)`, which `?` calls.
    pub fn failed(cause: C) -> Self {
        Self::of(Kind::Failed).with_cause(cause)
    }

    /// The resource itself failed, and trying again cannot help: a wrong password, a file that is no database.
    ///
    /// [`Retry`](crate::wrap::Retry) gives up at once on such an error.
    ///
    /// ```
    /// use reqscope::Error;
    /// use std::io;
    ///
    /// let refused = Error::permanent(io::Error::other("wrong password"));
    /// assert!(refused.is_permanent());
    /// assert_eq!(refused.cause().unwrap().to_string(), "wrong password");
    /// ```
    pub fn permanent(cause: C) -> Self {
        let mut error = Self::failed(cause);
        error.inner().permanent = true;
        error
    }

    /// A deadline passed in `stage`, after `elapsed`.
    ///
    /// ```
    /// use reqscope::error::Stage;
    /// use reqscope::Error;
    /// # use std::io;
    /// use std::time::Duration;
    ///
    /// let late = Error::<io::Error>::timeout(Stage::Acquiring, Duration::from_secs(2));
    /// assert_eq!(late.elapsed(), Some(Duration::from_secs(2)));
    /// assert_eq!(late.to_string(), "timed out after 2.0 s while acquiring");
    /// ```
    pub fn timeout(stage: Stage, elapsed: Duration) -> Self {
        let mut error = Self::of(Kind::Timeout).at(stage);
        error.inner().elapsed = Some(elapsed);
        error
    }

    /// The scope or the pool was closed.
    pub fn closed() -> Self {
        Self::of(Kind::Closed)
    }

    /// The backend is known to be down, so nobody was made to wait for it.
    pub fn unavailable() -> Self {
        Self::of(Kind::Unavailable)
    }

    /// A limit is reached: too many handles, or too many waiters. For pools; the core itself has no such limit.
    pub fn exhausted() -> Self {
        Self::of(Kind::Exhausted)
    }

    /// The code of the resource panicked in `stage`; `payload` is what `catch_unwind` returned.
    ///
    /// ```
    /// use reqscope::error::Stage;
    /// use reqscope::Error;
    /// # use std::io;
    /// use std::panic;
    ///
    /// let payload = panic::catch_unwind(|| panic!("no such row")).unwrap_err();
    /// let error = Error::<io::Error>::panicked(Stage::Using, &*payload);
    /// assert!(error.is_panicked());
    /// assert_eq!(error.to_string(), "the resource panicked while using: no such row");
    /// ```
    pub fn panicked(stage: Stage, payload: &(dyn Any + Send)) -> Self {
        let said = payload
            .downcast_ref::<&'static str>()
            .map(|said| Cow::Borrowed(*said))
            .or_else(|| payload.downcast_ref::<String>().map(|said| Cow::Owned(said.clone())));
        let error = Self::of(Kind::Panicked).at(stage);
        match said {
            Some(said) => error.with_context(said),
            None => error,
        }
    }

    /// The async runtime cannot do what is needed: there is none, it has no timers, or it is shutting down.
    pub(crate) fn runtime(missing: &'static str) -> Self {
        Self::of(Kind::Runtime).with_context(missing)
    }

    /// Names the stage.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.inner().stage = Some(stage);
        self
    }

    /// The same, of a backend that cannot be reached: what whoever asks behind an open breaker is told.
    pub(crate) fn into_unavailable(mut self) -> Self {
        if self.0.kind == Kind::Failed {
            self.inner().kind = Kind::Unavailable;
        }
        self
    }

    /// The same for one who was refused at once, and to whom the time that somebody else has waited means nothing.
    pub(crate) fn into_refusal(mut self) -> Self {
        if self.0.kind == Kind::Timeout {
            let inner = self.inner();
            inner.kind = Kind::Unavailable;
            inner.elapsed = None;
        }
        self.into_unavailable()
    }

    /// Adds the resource's own error.
    ///
    /// For a kind that has no cause by itself:
    ///
    /// ```
    /// use reqscope::Error;
    /// use std::io;
    ///
    /// let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    /// let down = Error::unavailable().with_cause(refused);
    /// assert!(down.is_unavailable());
    /// assert_eq!(down.cause().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    /// ```
    #[must_use]
    pub fn with_cause(mut self, cause: C) -> Self {
        self.inner().cause = Some(Arc::new(cause));
        self
    }

    /// Adds a few words of what was going on. Put no secret in it: it is shown.
    ///
    /// ```
    /// use reqscope::Error;
    /// # use std::io;
    ///
    /// let full = Error::<io::Error>::exhausted().with_context("64 waiters");
    /// assert_eq!(full.to_string(), "a limit is reached: 64 waiters");
    /// ```
    #[must_use]
    pub fn with_context(mut self, context: impl Into<Cow<'static, str>>) -> Self {
        self.inner().context = Some(context.into());
        self
    }

    /// Adds where the handle that was waited for had been taken.
    ///
    /// ```
    /// use reqscope::error::Stage;
    /// use reqscope::Error;
    /// # use std::io;
    /// use std::{panic::Location, time::Duration};
    ///
    /// let taken_at = Location::caller();
    /// let error = Error::<io::Error>::timeout(Stage::Waiting, Duration::from_secs(5)).with_holder(taken_at);
    /// assert_eq!(error.holder(), Some(taken_at));
    /// ```
    #[must_use]
    pub fn with_holder(mut self, taken_at: &'static Location<'static>) -> Self {
        self.inner().holder = Some(taken_at);
        self
    }

    /// Adds what the pool knew, for the writers of pools: see [`Shortage`].
    #[must_use]
    pub fn with_shortage(mut self, shortage: Shortage) -> Self {
        self.inner().shortage = Some(Box::new(shortage));
        self
    }

    /// To write in place when nobody shares the error yet, and in a copy when somebody does.
    fn inner(&mut self) -> &mut ErrorInner<C> {
        if Arc::get_mut(&mut self.0).is_none() {
            let shared = &self.0;
            self.0 = Arc::new(ErrorInner {
                kind: shared.kind,
                stage: shared.stage,
                context: shared.context.clone(),
                elapsed: shared.elapsed,
                holder: shared.holder,
                shortage: shared.shortage.clone(),
                permanent: shared.permanent,
                cause: shared.cause.clone(),
            });
        }
        Arc::get_mut(&mut self.0).expect("the branch above made it the only one")
    }

    /// A deadline passed. [`stage`](Error::stage) says in what, [`elapsed`](Error::elapsed) after how long.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// The scope or the pool was closed: the request is over, or the server is shutting down.
    pub fn is_closed(&self) -> bool {
        self.0.kind == Kind::Closed
    }

    /// The backend is known to be down.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == Kind::Unavailable
    }

    /// A limit is reached.
    pub fn is_exhausted(&self) -> bool {
        self.0.kind == Kind::Exhausted
    }

    /// The code of the resource panicked.
    pub fn is_panicked(&self) -> bool {
        self.0.kind == Kind::Panicked
    }

    /// Trying again cannot help: it was said so ([`permanent`](Error::permanent)), or what was asked is
    /// [closed](Error::is_closed).
    pub fn is_permanent(&self) -> bool {
        self.0.permanent || self.0.kind == Kind::Closed
    }

    /// Where it happened, if that is known.
    pub fn stage(&self) -> Option<Stage> {
        self.0.stage
    }

    /// How long it took until the deadline had passed; `None` for all but a timeout.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// Where in the program the handle that was waited for had been taken; `None` where nobody was waited for.
    pub fn holder(&self) -> Option<&'static Location<'static>> {
        self.0.holder
    }

    /// What the pool knew, where one was waited for in vain; `None` where no pool has answered.
    ///
    /// ```
    /// use reqscope::Error;
    ///
    /// fn log<C>(error: &Error<C>) {
    ///     let Some(shortage) = error.shortage() else { return };
    ///     eprintln!("{} waiting for {} handles", shortage.waiting, shortage.max_size);
    /// }
    /// # log(&Error::<std::io::Error>::closed());
    /// ```
    pub fn shortage(&self) -> Option<&Shortage> {
        self.0.shortage.as_deref()
    }

    /// The resource's own error.
    pub fn cause(&self) -> Option<&C> {
        self.0.cause.as_deref()
    }
}

impl<C> From<C> for Error<C> {
    fn from(cause: C) -> Self {
        Error::failed(cause)
    }
}

impl<C> Clone for Error<C> {
    fn clone(&self) -> Self {
        Error(Arc::clone(&self.0))
    }
}
