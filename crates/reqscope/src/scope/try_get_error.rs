use std::fmt;
use std::panic::Location;

use crate::error::{Class, Error, Situation};

/// Why [`Lazy::try_get`](crate::Lazy::try_get) returned no guard.
///
/// In all cases but [`Closed`](TryGetError::Closed), [`Lazy::get`](crate::Lazy::get) waits or tries again, and may
/// succeed.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::scope::TryGetError;
/// # use reqscope::{Error, Exit, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
/// # let scope = Scopes::new().open();
/// # let lists = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::<u32>::new()) }));
/// # let list = scope.lazy(&lists);
/// match list.try_get() {
///     Ok(mut guard) => guard.push(1),
///     Err(TryGetError::WouldWait) => list.get().await.unwrap().push(1), // the first use
///     Err(error) => panic!("{error}"), // for example: the handle is lent: a guard of this request, taken at …
/// }
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
#[non_exhaustive]
pub enum TryGetError<C> {
    /// A guard of this request holds the handle.
    Lent {
        /// The line of code that took the guard.
        holder: &'static Location<'static>,
    },
    /// A task of the scope is acquiring the handle.
    Acquiring,
    /// The handle is being released early, by [`Lazy::complete`](crate::Lazy::complete) or
    /// [`Lazy::fail`](crate::Lazy::fail).
    Ending,
    /// There is no handle yet, and the resource has none that is ready at once. The acquisition has to wait, so it was
    /// not begun.
    WouldWait,
    /// The request is over.
    Closed,
    /// The resource panicked in [`try_acquire`](crate::Resource::try_acquire).
    Failed(Error<C>),
}

impl<C> fmt::Display for TryGetError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryGetError::Lent { holder } => {
                let (file, line) = (holder.file(), holder.line());
                write!(f, "the handle is lent: a guard of this request, taken at {file}:{line}, is still held")
            }
            TryGetError::Acquiring => f.write_str("the handle is being acquired"),
            TryGetError::Ending => f.write_str("the handle is being released early"),
            TryGetError::WouldWait => f.write_str("the handle is not acquired yet, and acquiring it has to wait"),
            TryGetError::Closed => Situation::ScopeClosed { waited: false }.fmt(f),
            TryGetError::Failed(error) => error.fmt(f),
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for TryGetError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryGetError::Lent { holder } => {
                f.debug_struct("Lent").field("holder", &format_args!("{}:{}", holder.file(), holder.line())).finish()
            }
            TryGetError::Acquiring => f.write_str("Acquiring"),
            TryGetError::Ending => f.write_str("Ending"),
            TryGetError::WouldWait => f.write_str("WouldWait"),
            TryGetError::Closed => f.write_str("Closed"),
            TryGetError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<C> Clone for TryGetError<C> {
    fn clone(&self) -> Self {
        match self {
            TryGetError::Lent { holder } => TryGetError::Lent { holder },
            TryGetError::Acquiring => TryGetError::Acquiring,
            TryGetError::Ending => TryGetError::Ending,
            TryGetError::WouldWait => TryGetError::WouldWait,
            TryGetError::Closed => TryGetError::Closed,
            TryGetError::Failed(error) => TryGetError::Failed(error.clone()),
        }
    }
}

impl<C: std::error::Error + 'static> std::error::Error for TryGetError<C> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The text of `Failed` is that of its error, so its source is that of its error, too.
            TryGetError::Failed(error) => return error.source(),
            TryGetError::Closed => Class::CLOSED.note(),
            // Like the timeout of a `get` that has waited, for which a server answers 503.
            TryGetError::Lent { .. } | TryGetError::Acquiring | TryGetError::Ending | TryGetError::WouldWait => {
                Class::EXHAUSTED.note();
            }
        }
        None
    }
}
