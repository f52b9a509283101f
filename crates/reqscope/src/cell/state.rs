/// The state of a cell, as returned by [`Lazy::state`](crate::Lazy::state).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::scope::LazyState;
/// # use reqscope::{Error, Exit, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
/// # let scope = Scopes::new().open();
/// # let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
/// let lazy = scope.lazy(&numbers);
/// assert_eq!(lazy.state(), LazyState::Unused);
/// let guard = lazy.get().await.unwrap();
/// assert_eq!(lazy.state(), LazyState::Lent);
/// drop(guard);
/// assert_eq!(lazy.state(), LazyState::Ready);
/// scope.close(Exit::Completed).await.unwrap();
/// assert_eq!(lazy.state(), LazyState::Closed);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LazyState {
    /// There is no handle: there was no use yet, the last attempt failed, or the handle was detached.
    Unused,
    /// The handle is being acquired.
    Acquiring,
    /// The handle is idle in the cell.
    Ready,
    /// The handle is lent to a guard.
    Lent,
    /// The handle is being released early, by [`Lazy::complete`](crate::Lazy::complete) or
    /// [`Lazy::fail`](crate::Lazy::fail).
    Ending,
    /// The scope is closed.
    Closed,
}
