use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;

use super::Stage;

/// What an [`Error`](crate::Error) says apart from its cause, without the type of the cause: the answers to the
/// predicates, and the stage.
///
/// [`Class::find`] looks for it in any error, however deep the `Error` is wrapped. Use it where errors of all resources
/// meet: in the error type of an application, in a front end, in a log.
///
/// ```
/// use reqscope::Error;
/// use reqscope::error::Class;
/// use std::io;
///
/// fn status(error: &dyn std::error::Error) -> u16 {
///     let Some(class) = Class::find(error) else { return 500 };
///     match class {
///         _ if class.is_unknown_outcome() => 500, // check before you repeat it
///         _ if class.is_unavailable() || class.is_exhausted() || class.is_timeout() || class.is_closed() => 503,
///         _ => 500,
///     }
/// }
///
/// let down = Error::<io::Error>::unavailable();
/// assert_eq!(status(&down), 503);
/// assert_eq!(status(&io::Error::other(down)), 503); // wrapped
/// assert_eq!(status(&io::Error::other("no such table")), 500);
/// ```
///
/// # For adapters
///
/// An adapter's own error type can have a class too: its `source` method [notes](Class::note) it.
///
/// ```
/// use reqscope::error::Class;
/// # use std::{error::Error, fmt};
///
/// #[derive(Debug)]
/// enum DbError {
///     Locked,
///     Syntax,
/// }
///
/// impl Error for DbError {
///     fn source(&self) -> Option<&(dyn Error + 'static)> {
///         if let DbError::Locked = self {
///             Class::UNAVAILABLE.note();
///         }
///         None
///     }
/// }
/// # impl fmt::Display for DbError {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("no") }
/// # }
///
/// assert!(Class::find(&DbError::Locked).is_some_and(|class| class.is_unavailable()));
/// assert!(Class::find(&reqscope::Error::failed(DbError::Locked)).is_some_and(|class| class.is_unavailable()));
/// assert!(Class::find(&DbError::Syntax).is_none());
/// ```
#[derive(Clone, Copy)]
pub struct Class {
    pub(super) kind: Kind,
    pub(super) stage: Option<Stage>,
    pub(super) permanent: bool,
    /// Whether the sources say nothing about the whole, so that [`Class::find`] does not look at them.
    pub(super) concludes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Failed,
    Timeout,
    Closed,
    Unavailable,
    Exhausted,
    Panicked,
    Runtime,
    UnknownOutcome,
}

/// How many levels of an error are looked at. Real chains are far shorter; one that leads back to itself has to end.
pub(super) const MAX_LEVELS: usize = 128;

impl Class {
    /// The class of an error for which [`is_closed`](Class::is_closed) returns `true`.
    pub const CLOSED: Class = Class::of(Kind::Closed);

    /// The class of an error for which [`is_timeout`](Class::is_timeout) returns `true`.
    pub const TIMEOUT: Class = Class::of(Kind::Timeout);

    /// The class of an error for which [`is_unavailable`](Class::is_unavailable) returns `true`.
    pub const UNAVAILABLE: Class = Class::of(Kind::Unavailable);

    /// The class of an error for which [`is_exhausted`](Class::is_exhausted) returns `true`.
    pub const EXHAUSTED: Class = Class::of(Kind::Exhausted);

    /// The class of an error for which [`is_unknown_outcome`](Class::is_unknown_outcome) returns `true`.
    pub const UNKNOWN_OUTCOME: Class = Class::of(Kind::UnknownOutcome);

    /// The class of the error of a close. One release was refused, but another one may have committed, so the whole is no
    /// refusal.
    pub(crate) const CLOSE: Class =
        Class { stage: Some(Stage::Releasing), concludes: true, ..Class::of(Kind::Failed) };

    pub(super) const fn of(kind: Kind) -> Self {
        Class { kind, stage: None, permanent: false, concludes: false }
    }

    /// Returns the class of `error`: that of the first level in its chain of sources that is more than
    /// [failed](Class::is_failed), else that of the first level with a class, else `None`.
    ///
    /// So an error that says no more than "the resource failed" has the class of its cause: a pool that is exhausted
    /// stays recognizable when a second resource returns the pool's error as the cause of its own. A
    /// [`CloseError`](crate::CloseError) does not have the class of its cause: it is failed, or has an unknown outcome. Its
    /// cause is the error of one release, and another release of the same scope may have committed.
    ///
    /// Calls `source` on each level, at most 128 of them.
    ///
    /// ```
    /// use reqscope::Error;
    /// use reqscope::error::Class;
    /// use std::io;
    ///
    /// let full = Error::<io::Error>::exhausted();
    /// let wrapped = Error::failed(io::Error::other(full));
    /// assert!(wrapped.is_failed());
    /// assert!(Class::find(&wrapped).unwrap().is_exhausted());
    /// assert!(Class::find(&io::Error::other("no error of this crate")).is_none());
    /// ```
    pub fn find(error: &dyn StdError) -> Option<Class> {
        let mut witness = Witness::begin();
        let (mut first, mut level): (Option<Class>, Option<&dyn StdError>) = (None, Some(error));
        for _ in 0..MAX_LEVELS {
            let Some(error) = level else { break };
            // Nothing can be downcast to an `Error<C>` without knowing `C`, so its `source` notes the class. A
            // transparent wrapper skips a level, but calls the `source` of that level.
            level = error.source().map(|source| source as _);
            match witness.take() {
                Some(class) if class.is_last() => return Some(class),
                class => first = first.or(class),
            }
        }
        first
    }

    /// Notes this class for a [`find`](Class::find) that runs on this thread. Does nothing if there is none.
    ///
    /// Call it in the [`source`](StdError::source) method of an error type; see the [type's docs](Class#for-adapters).
    /// If `source` is called for several errors at once, because one forwards to the next, the first class that is more
    /// than [failed](Class::is_failed) is kept.
    pub fn note(self) {
        // `Err` while the thread ends, when no `find` runs.
        let _ended = NOTED.try_with(|noted| {
            if let Noted::On(kept) = noted.get() {
                let keep = kept.is_some_and(|kept| kept.is_last() || !self.is_last());
                noted.set(Noted::On(if keep { kept } else { Some(self) }));
            }
        });
    }

    /// Returns whether a search ends with this class.
    fn is_last(self) -> bool {
        self.concludes || !self.is_failed()
    }

    /// Returns whether the resource returned an error of its own that says no more than that. All other predicates are
    /// `false` then, except [`is_permanent`](Class::is_permanent).
    pub fn is_failed(&self) -> bool {
        self.kind == Kind::Failed
    }

    /// Returns whether a deadline passed.
    pub fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// Returns whether the scope or the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.kind == Kind::Closed
    }

    /// Returns whether the backend is down, cannot be reached, or is locked by another program.
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Returns whether a limit was reached: too many handles, or too many waiters.
    pub fn is_exhausted(&self) -> bool {
        self.kind == Kind::Exhausted
    }

    /// Returns whether the code of the resource panicked.
    pub fn is_panicked(&self) -> bool {
        self.kind == Kind::Panicked
    }

    /// Returns whether the async runtime of the caller was unusable; see
    /// [`Error::is_runtime`](crate::Error::is_runtime).
    pub fn is_runtime(&self) -> bool {
        self.kind == Kind::Runtime
    }

    /// Returns whether it is unknown if the operation took effect; see
    /// [`Error::is_unknown_outcome`](crate::Error::is_unknown_outcome).
    pub fn is_unknown_outcome(&self) -> bool {
        match self.kind {
            Kind::UnknownOutcome => true,
            Kind::Timeout | Kind::Panicked | Kind::Runtime => self.stage == Some(Stage::Releasing),
            Kind::Failed | Kind::Closed | Kind::Unavailable | Kind::Exhausted => false,
        }
    }

    /// Returns whether a retry cannot help; see [`Error::is_permanent`](crate::Error::is_permanent).
    pub fn is_permanent(&self) -> bool {
        self.permanent || self.kind == Kind::Closed
    }

    /// Returns the stage in which the error occurred, if known.
    pub fn stage(&self) -> Option<Stage> {
        self.stage
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Class").field("kind", &self.kind).field("stage", &self.stage).finish_non_exhaustive()
    }
}

thread_local! {
    static NOTED: Cell<Noted> = const { Cell::new(Noted::Off) };
}

/// Whether a [`Class::find`] runs on this thread, and the class that the `source` of its current level has noted.
#[derive(Clone, Copy)]
enum Noted {
    Off,
    On(Option<Class>),
}

/// Collects the classes that are noted on this thread. When dropped, also by a `source` that panics, it restores the
/// state of the `find` around it, if an error's `source` calls `find`.
struct Witness {
    outer: Noted,
}

impl Witness {
    fn begin() -> Self {
        Witness { outer: NOTED.try_with(|noted| noted.replace(Noted::On(None))).unwrap_or(Noted::Off) }
    }

    fn take(&mut self) -> Option<Class> {
        match NOTED.try_with(|noted| noted.replace(Noted::On(None))) {
            Ok(Noted::On(class)) => class,
            Ok(Noted::Off) | Err(_) => None,
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ended = NOTED.try_with(|noted| noted.set(self.outer));
    }
}
