use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Class, TypeName};
use crate::exit::Exit;

/// The error of a scope that could not be closed as requested: the response must not be a success (law L11).
///
/// The error contains only problems of resources whose outcome matters to the client
/// ([`Resource::settles`](crate::Resource::settles)). Problems of other resources are reported to the
/// [`Observer`](crate::Observer).
///
/// A handler that returns a success, but has marked its scope as failed:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::scope::Problem;
/// # use reqscope::{Error, Exit, Resource, Scopes};
/// # use std::{convert::Infallible, sync::Arc};
/// # struct Transactions;
/// # impl Resource for Transactions {
/// #     type Handle = ();
/// #     type Cause = Infallible;
/// #     async fn acquire(&self) -> Result<(), Error<Infallible>> { Ok(()) }
/// #     fn settles(&self, exit: Exit) -> bool { exit.is_completed() }
/// # }
/// # let transactions = Arc::new(Transactions);
/// # let scope = Scopes::new().open();
/// drop(scope.lazy(&transactions).get().await.unwrap());
/// scope.handle().mark_failed();
///
/// let error = scope.close(Exit::Completed).await.unwrap_err();
/// assert_eq!((error.requested(), error.verdict()), (Exit::Completed, Exit::Failed));
/// assert!(matches!(error.problems(), [Problem::NotCompleted { .. }]));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct CloseError(Arc<CloseErrorInner>);

#[derive(Debug)]
struct CloseErrorInner {
    requested: Exit,
    verdict: Exit,
    problems: Vec<Problem>,
}

/// A problem of one resource, in a [`CloseError`].
///
/// Problems are meant for the log, not for the client. Their messages show the type of a resource without paths:
///
/// ```
/// use reqscope::error::Chain;
/// use reqscope::scope::Problem;
/// use reqscope::CloseError;
///
/// fn report(error: &CloseError) {
///     for problem in error.problems() {
///         match problem {
///             Problem::ReleaseFailed { resource, error, .. } => eprintln!("{resource}: {}", Chain(error)),
///             Problem::StillLent { resource, since, .. } => eprintln!("{resource}: lent since {since}"),
///             other => eprintln!("{other}"),
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The release (a COMMIT) failed, panicked or missed its deadline. The error may say whether the backend has
    /// carried it out.
    ReleaseFailed {
        /// The type of the resource.
        resource: &'static str,
        /// The error that the release returned: an [`Error`](crate::Error) of the resource.
        error: Arc<dyn Error + Send + Sync>,
    },
    /// A guard was still held, so the state of the handle is unknown.
    StillLent {
        /// The type of the resource.
        resource: &'static str,
        /// The line of code that took the guard.
        since: &'static Location<'static>,
    },
    /// The handle was still being acquired, so the work that needs it had not been done.
    StillAcquiring {
        /// The type of the resource.
        resource: &'static str,
    },
    /// The handle was broken: an operation was cut in the middle.
    Dead {
        /// The type of the resource.
        resource: &'static str,
    },
    /// Other releases had used up the time of the close. This release continues, but its result is not awaited.
    StillReleasing {
        /// The type of the resource.
        resource: &'static str,
    },
    /// The close itself had not ended in time, as seen by [`ScopeHandle::ended`](crate::ScopeHandle::ended): its task
    /// hangs, or runs on a runtime that no thread drives.
    StillClosing {
        /// How long the caller has waited since the scope was sealed. Zero if it has no runtime with timers.
        waited: Duration,
    },
    /// The handle was released as a failure (a ROLLBACK), although the scope was closed as a success.
    NotCompleted {
        /// The type of the resource.
        resource: &'static str,
    },
}

impl CloseError {
    /// Returns the error, if there are any problems.
    pub(crate) fn of(requested: Exit, verdict: Exit, problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then(|| CloseError(Arc::new(CloseErrorInner { requested, verdict, problems })))
    }

    /// Returns the exit that was passed to [`Scope::close`](crate::Scope::close).
    pub fn requested(&self) -> Exit {
        self.0.requested
    }

    /// Returns the exit that was passed to the resources.
    pub fn verdict(&self) -> Exit {
        self.0.verdict
    }

    /// Returns whether it is unknown what the backend has carried out: whether a COMMIT took effect.
    ///
    /// This is the case if a release says so ([`Error::is_unknown_outcome`](crate::Error::is_unknown_outcome)), also
    /// because it missed its deadline, panicked or lost its runtime, and if one is [still
    /// running](Problem::StillReleasing). Otherwise no release of the problems has taken effect; those of other
    /// resources in the same scope may have, and so may an [early one](crate::Lazy::complete).
    ///
    /// A request that ended with this error must not simply be repeated, whether the outcome is known or not, so
    /// [`Class::find`] returns no class for it that invites a retry, not even if its cause is an unavailable backend:
    ///
    /// ```
    /// use reqscope::CloseError;
    ///
    /// fn advice(error: &CloseError) -> &'static str {
    ///     if error.is_unknown_outcome() {
    ///         "look whether the order exists before you repeat it"
    ///     } else {
    ///         "the parts that are named in the log were not stored"
    ///     }
    /// }
    /// ```
    pub fn is_unknown_outcome(&self) -> bool {
        self.0.problems.iter().any(|problem| match problem {
            Problem::StillReleasing { .. } | Problem::StillClosing { .. } => true,
            Problem::ReleaseFailed { error, .. } => {
                Class::find(&**error).is_some_and(|class| class.is_unknown_outcome())
            }
            Problem::StillLent { .. }
            | Problem::StillAcquiring { .. }
            | Problem::Dead { .. }
            | Problem::NotCompleted { .. } => false,
        })
    }

    /// Returns all problems, in the order in which they were found. Never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CloseErrorInner { requested, verdict, .. } = &*self.0;
        if requested == verdict {
            write!(f, "the scope closed as `{verdict}` with errors")?;
        } else {
            write!(f, "the scope closed as `{verdict}` instead of `{requested}`")?;
        }
        let mut separator = ": ";
        for problem in &self.0.problems {
            write!(f, "{separator}{problem}")?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Error for CloseError {
    /// Returns the error of the first failed release, if there is one.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Before the first failed release, which may say something else: "unavailable" would invite a client to repeat a
        // request that has partly been committed.
        let class = if self.is_unknown_outcome() { Class::UNKNOWN_OUTCOME } else { Class::CLOSE };
        class.note();
        self.0.problems.iter().find_map(|problem| match problem {
            Problem::ReleaseFailed { error, .. } => Some(&**error as _),
            _ => None,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::ReleaseFailed { resource, .. } => write!(f, "the release of {} failed", TypeName(resource)),
            Problem::StillLent { resource, since } => {
                let (resource, file, line) = (TypeName(resource), since.file(), since.line());
                write!(f, "a handle of {resource} was still lent, taken at {file}:{line}")
            }
            Problem::StillAcquiring { resource } => {
                write!(f, "a handle of {} was still being acquired", TypeName(resource))
            }
            Problem::Dead { resource } => write!(f, "the handle of {} was broken", TypeName(resource)),
            Problem::StillReleasing { resource } => {
                write!(f, "there was no time left to wait for the release of {}", TypeName(resource))
            }
            Problem::StillClosing { waited } => {
                write!(f, "the close had not ended after {:.1} s", waited.as_secs_f64())
            }
            Problem::NotCompleted { resource } => {
                write!(f, "the handle of {} was released as a failure", TypeName(resource))
            }
        }
    }
}
