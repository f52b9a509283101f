//! The error of all operations, the stage in which it occurred, and the figures that a pool adds to it.

mod stage;
mod class;
mod chain;
mod shortage;
mod type_name;
mod situation;
mod display;

use std::any::Any;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::rt::catch;

pub use chain::Chain;
pub use class::Class;
use class::Kind;
pub use shortage::{ConnectFailure, Holding, Shortage};
pub(crate) use situation::Situation;
pub use stage::Stage;
pub(crate) use type_name::TypeName;

/// The one error of the whole stack, with the resource's own error as its typed [`cause`](Error::cause).
///
/// However many wrappers surround a resource, their error is `Error<R::Cause>`: there is nothing to unwrap layer by
/// layer. Call the predicates (`is_timeout`, `is_closed`, …); there is no public kind to match on.
///
/// The error is `Clone`, because all callers that waited for one attempt get the same error; the clones share the
/// cause. `Display` shows this level only; [`source`](std::error::Error::source) returns the cause, and [`Chain`] shows
/// both.
///
/// Inside an implementation of [`Resource`](crate::Resource), the `?` operator converts the resource's own error into
/// this type:
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
/// A server maps an error to a response by its predicates. Where the type of the cause is not known, or the error may
/// be wrapped in another one, [`Class::find`] finds the answers:
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
    class: Class,
    situation: Option<Situation>,
    context: Option<Cow<'static, str>>,
    elapsed: Option<Duration>,
    holder: Option<&'static Location<'static>>,
    /// Boxed, because few errors have one, and it is larger than all other fields together.
    shortage: Option<Box<Shortage>>,
    cause: Option<Arc<C>>,
}

impl<C> Drop for ErrorInner<C> {
    fn drop(&mut self) {
        // The cause is a user's type, also the one in the figures of a pool. Many errors are dropped in a `Drop`.
        catch::drop_quietly((self.cause.take(), self.shortage.take()));
    }
}

impl<C> Error<C> {
    fn of(kind: Kind) -> Self {
        Error(Arc::new(ErrorInner {
            class: Class::of(kind),
            situation: None,
            context: None,
            elapsed: None,
            holder: None,
            shortage: None,
            cause: None,
        }))
    }

    /// Creates an error with the resource's own error as its cause, for a failure that a retry may cure.
    ///
    /// This is the same as `Error::from(cause)`, which `?` calls.
    pub fn failed(cause: C) -> Self {
        Self::of(Kind::Failed).with_cause(cause)
    }

    /// Creates an error with the resource's own error as its cause, for a failure that a retry cannot cure: a wrong
    /// password, a file that is not a database.
    ///
    /// [`Retry`](crate::wrap::Retry) returns such an error at once.
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
        error.inner().class.permanent = true;
        error
    }

    /// Creates an error for a deadline that passed in `stage`, after `elapsed`.
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

    /// Creates an error for an operation on a scope or a pool that is closed. For a pool of your own, add
    /// [its name](Error::with_context).
    pub fn closed() -> Self {
        Self::of(Kind::Closed)
    }

    /// Creates an error for an operation on a scope, a pool or a `Shared` that is closed.
    #[cold]
    pub(crate) fn closed_as(situation: Situation) -> Self {
        let mut error = Self::closed();
        error.inner().situation = Some(situation);
        error
    }

    /// Creates an error for an operation that was not attempted because the backend is known to be down.
    pub fn unavailable() -> Self {
        Self::of(Kind::Unavailable)
    }

    /// Creates an error for a limit that is reached: too many handles, or too many waiters. Only pools have such
    /// limits.
    pub fn exhausted() -> Self {
        Self::of(Kind::Exhausted)
    }

    /// Creates an error for an operation of which it is unknown whether it took effect, with the resource's own error
    /// as its cause. For adapters: a COMMIT was sent, and its answer was lost.
    ///
    /// ```
    /// use reqscope::Error;
    /// use reqscope::error::Stage;
    /// use std::io;
    ///
    /// let lost = io::Error::from(io::ErrorKind::ConnectionReset);
    /// let error = Error::unknown_outcome(lost).at(Stage::Releasing);
    /// assert!(error.is_unknown_outcome());
    /// assert_eq!(error.to_string(), "the outcome is unknown while releasing");
    /// ```
    pub fn unknown_outcome(cause: C) -> Self {
        Self::of(Kind::UnknownOutcome).with_cause(cause)
    }

    /// Creates an error for a panic of the resource in `stage`; `payload` is what `catch_unwind` returned.
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
        let message = payload
            .downcast_ref::<&'static str>()
            .map(|message| Cow::Borrowed(*message))
            .or_else(|| payload.downcast_ref::<String>().map(|message| Cow::Owned(message.clone())));
        let error = Self::of(Kind::Panicked).at(stage);
        match message {
            Some(message) => error.with_context(message),
            None => error,
        }
    }

    /// Creates an error for an unusable async runtime: there is none, it has no timers, or it is shutting down.
    pub(crate) fn runtime(missing: &'static str) -> Self {
        Self::of(Kind::Runtime).with_context(missing)
    }

    /// Creates the error of a handle that was to be released as completed, and was released as failed.
    pub(crate) fn not_completed() -> Self {
        let why = "the request is marked as failed, so the handle was released as failed";
        Self::of(Kind::Failed).at(Stage::Releasing).with_context(why)
    }

    /// Sets the stage. A later call replaces an earlier one.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.inner().class.stage = Some(stage);
        self
    }

    /// Turns a failure into an unavailable backend, for callers that an open breaker refuses.
    pub(crate) fn into_unavailable(mut self) -> Self {
        if self.is_failed() {
            self.inner().class.kind = Kind::Unavailable;
        }
        self
    }

    /// Turns the error of the attempt that opened the breaker into the error of a caller that was refused at once. The
    /// elapsed time of the attempt is removed, because the caller has not waited for it.
    pub(crate) fn into_refusal(mut self) -> Self {
        if self.is_timeout() {
            let inner = self.inner();
            inner.class.kind = Kind::Unavailable;
            inner.elapsed = None;
        }
        self.into_unavailable()
    }

    /// Sets the resource's own error as the cause.
    ///
    /// Use it for the errors that are created without a cause:
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

    /// Adds a few words of context to the message. It must not contain a secret, because `Display` shows it.
    ///
    /// ```
    /// use reqscope::Error;
    /// # use std::io;
    ///
    /// let full = Error::<io::Error>::exhausted().with_context("64 waiters");
    /// assert_eq!(full.to_string(), "the resource is exhausted: 64 waiters");
    /// ```
    #[must_use]
    pub fn with_context(mut self, context: impl Into<Cow<'static, str>>) -> Self {
        self.inner().context = Some(context.into());
        self
    }

    /// Sets the holder: the line of code that took the handle for which the caller waited.
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

    /// Says that the holder is a guard of the caller's own request.
    pub(crate) fn with_own_guard(mut self, taken_at: &'static Location<'static>) -> Self {
        self.inner().situation = Some(Situation::OwnGuard);
        self.with_holder(taken_at)
    }

    /// Adds the figures of the pool, for implementations of pools; see [`Shortage`].
    #[must_use]
    pub fn with_shortage(mut self, shortage: Shortage) -> Self {
        self.inner().shortage = Some(Box::new(shortage));
        self
    }

    /// Returns the fields for writing: in place if the error is not shared, else in a copy.
    fn inner(&mut self) -> &mut ErrorInner<C> {
        if Arc::get_mut(&mut self.0).is_none() {
            let shared = &self.0;
            self.0 = Arc::new(ErrorInner {
                class: shared.class,
                situation: shared.situation.clone(),
                context: shared.context.clone(),
                elapsed: shared.elapsed,
                holder: shared.holder,
                shortage: shared.shortage.clone(),
                cause: shared.cause.clone(),
            });
        }
        Arc::get_mut(&mut self.0).expect("the branch above made it the only one")
    }

    /// Returns whether a deadline passed. [`stage`](Error::stage) says in which stage, [`elapsed`](Error::elapsed)
    /// after how long.
    pub fn is_timeout(&self) -> bool {
        self.0.class.is_timeout()
    }

    /// Returns whether the scope or the pool was closed: the request is over, or the server is shutting down.
    pub fn is_closed(&self) -> bool {
        self.0.class.is_closed()
    }

    /// Returns whether the backend is down, or cannot be reached.
    pub fn is_unavailable(&self) -> bool {
        self.0.class.is_unavailable()
    }

    /// Returns whether a limit was reached: too many handles, or too many waiters.
    pub fn is_exhausted(&self) -> bool {
        self.0.class.is_exhausted()
    }

    /// Returns whether the code of the resource panicked.
    pub fn is_panicked(&self) -> bool {
        self.0.class.is_panicked()
    }

    /// Returns whether the resource returned an error of its own, which is the [`cause`](Error::cause), and said no
    /// more about it. All other predicates are `false` then, except [`is_permanent`](Error::is_permanent).
    pub fn is_failed(&self) -> bool {
        self.0.class.is_failed()
    }

    /// Returns whether the caller's async runtime was unusable: there is none, it has no timers, or it is shutting
    /// down. This is no fault of the resource or its backend.
    ///
    /// ```
    /// # use reqscope::{Error, Scopes, resource_fn};
    /// # use std::{convert::Infallible, pin::pin, sync::Arc, task::{Context, Poll, Waker}};
    /// let frozen = Arc::new(resource_fn(|| std::future::pending::<Result<(), Error<Infallible>>>()));
    /// let scope = Scopes::new().open();
    /// // Polled without a runtime.
    /// let get = pin!(scope.lazy(&frozen).get()).poll(&mut Context::from_waker(Waker::noop()));
    /// let Poll::Ready(Err(error)) = get else { panic!("an acquisition that waits needs a runtime") };
    /// assert!(error.is_runtime());
    /// ```
    pub fn is_runtime(&self) -> bool {
        self.0.class.is_runtime()
    }

    /// Returns whether it is unknown if the operation took effect: a COMMIT was sent, and its answer was lost.
    ///
    /// This is the case if the resource says so (`reqscope_mysql` after a lost connection, for example), and if a
    /// release missed its deadline, panicked or lost its runtime: what it had done by then is not known. In the last
    /// case [`is_timeout`](Error::is_timeout), [`is_panicked`](Error::is_panicked) or [`is_runtime`](Error::is_runtime)
    /// is `true` as well.
    ///
    /// Do not simply repeat the operation. Look whether it took effect, for example by a row with a key of the request.
    ///
    /// ```
    /// use reqscope::Error;
    /// use reqscope::error::Stage;
    /// # use std::{io, time::Duration};
    ///
    /// let late = |stage| Error::<io::Error>::timeout(stage, Duration::from_secs(5));
    /// assert!(late(Stage::Releasing).is_unknown_outcome());
    /// assert!(!late(Stage::Acquiring).is_unknown_outcome());
    /// ```
    pub fn is_unknown_outcome(&self) -> bool {
        self.0.class.is_unknown_outcome()
    }

    /// Returns whether a retry cannot help: the error was created by [`permanent`](Error::permanent), or the scope or
    /// pool is [closed](Error::is_closed).
    pub fn is_permanent(&self) -> bool {
        self.0.class.is_permanent()
    }

    /// Returns the stage in which the error occurred, if known.
    pub fn stage(&self) -> Option<Stage> {
        self.0.class.stage
    }

    /// Returns what this error says apart from its cause, in a type that does not depend on the cause's.
    ///
    /// It is the class of this level only; [`Class::find`] also looks at the sources.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// Returns how long the operation had run when its deadline passed; `None` for all errors but a timeout.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// Returns the line of code that took the handle for which the caller waited, if the caller waited for one.
    pub fn holder(&self) -> Option<&'static Location<'static>> {
        self.0.holder
    }

    /// Returns the figures of the pool at the time of the error; `None` if the error is not from a pool.
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

    /// Returns the resource's own error, if there is one.
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
