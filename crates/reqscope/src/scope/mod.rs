//! Scopes: the handles that one request has acquired, from its start to its end.

pub(crate) mod close_error;
pub(crate) mod try_get_error;
pub(crate) mod erased;
pub(crate) mod progress;
pub(crate) mod state;
pub(crate) mod slot;
pub(crate) mod ending;
pub(crate) mod guard;
pub(crate) mod lazy;
pub(crate) mod ended;
pub(crate) mod close;
pub(crate) mod scopes;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::details::{Label, Tenant};
use crate::exit::Exit;
use crate::identity::Identity;
use crate::lease::Caller;
use crate::reaper::account::Accounting;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::runtime::coop;
use crate::rt::wakers::WakerTicket;
use crate::scope::close::Close;
use crate::scope::ended::Ended;
use crate::scope::slot::Slot;
use crate::scope::state::StateRef;

pub use self::close_error::{CloseError, Problem};
pub use self::ended::TooLate;
pub use self::guard::{Guard, MappedGuard};
pub use self::lazy::Lazy;
pub use self::scopes::{Scopes, ScopesBuilder};
pub use self::try_get_error::TryGetError;
pub use crate::cell::state::LazyState;

/// The owner of everything that one request has acquired.
///
/// Keep the scope beside the handler's future, so that both are dropped together, and close it when the handler has
/// returned. The front ends do both. The handler gets a [`ScopeHandle`].
///
/// A scope that is dropped is closed as [`Exit::Cancelled`], or as [`Exit::Panicked`] while unwinding, and its handles
/// are released by the reaper.
///
/// A scope is not `Clone`: it has one owner, which decides when the request is over.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Scopes, resource_fn};
/// use std::{convert::Infallible, sync::Arc};
///
/// let scopes = Scopes::new();
/// let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
///
/// let scope = scopes.open();
/// let request = scope.handle().clone(); // for the handler
/// assert_eq!(*request.lazy(&numbers).get().await.unwrap(), 7);
///
/// scope.close(Exit::Completed).await.unwrap();
/// assert!(request.lazy(&numbers).get().await.unwrap_err().is_closed());
/// # });
/// ```
///
/// A scope can be closed once:
///
/// ```compile_fail,E0382
/// # use reqscope::{Exit, Scope};
/// async fn twice(scope: Scope) {
///     scope.close(Exit::Completed).await.unwrap();
///     scope.close(Exit::Failed).await.unwrap();
/// }
/// ```
///
/// and it cannot be cloned:
///
/// ```compile_fail,E0599
/// # use reqscope::Scope;
/// fn second_owner(scope: &Scope) -> Scope {
///     scope.clone()
/// }
/// ```
#[must_use = "a scope that is dropped at once is cancelled"]
pub struct Scope {
    handle: ScopeHandle,
    /// Whether the scope still has to be closed.
    open: bool,
}

impl Scope {
    pub(crate) fn open(accounting: &Arc<Accounting>) -> Self {
        Scope { handle: ScopeHandle { state: StateRef::open(accounting) }, open: true }
    }

    /// Returns the handle to the scope for the request's functions. It does not keep the scope open.
    pub fn handle(&self) -> &ScopeHandle {
        &self.handle
    }

    /// Returns the cell of `resource` in this scope. Same as [`ScopeHandle::lazy`].
    pub fn lazy<R: Resource>(&self, resource: &Arc<R>) -> Lazy<R> {
        self.handle.lazy(resource)
    }

    /// Sets the deadline of the request. Defaults to none. A later call replaces an earlier one, for acquisitions and waits
    /// that begin later.
    ///
    /// A wait that has begun keeps the deadline with which it began: an acquisition that is running, a
    /// [`get`](Lazy::get) that waits for it or for a guard. So set it before the handler runs, as front ends do.
    ///
    /// After the deadline, no acquisition begins for this scope, and a [`get`](Lazy::get) that waits returns a timeout
    /// error at the deadline, if its own timeout has not passed before. Handles that the scope has acquired can still
    /// be used. Nothing else happens: the code that runs the handler has to end it.
    ///
    /// The clock is tokio's, so in a test with a paused clock the instant is `tokio::time::Instant::into_std`.
    ///
    /// ```
    /// use reqscope::Scopes;
    /// use std::time::{Duration, Instant};
    ///
    /// let scope = Scopes::new().open();
    /// let until = Instant::now() + Duration::from_secs(30);
    /// scope.set_deadline(until);
    /// assert_eq!(scope.handle().deadline(), Some(until));
    /// ```
    pub fn set_deadline(&self, at: Instant) {
        self.handle.state.describe(|details| details.set_deadline(at));
    }

    /// Sets the label of the request. Same as [`ScopeHandle::set_label`].
    pub fn set_label(&self, label: impl Into<Label>) {
        self.handle.set_label(label);
    }

    /// Sets the tenant of the request. Same as [`ScopeHandle::set_tenant`].
    pub fn set_tenant(&self, tenant: impl Into<Tenant>) {
        self.handle.set_tenant(tenant);
    }

    /// Closes the scope: ends all lending, fixes the verdict, and starts the releases.
    ///
    /// This is a plain function: when it returns, the scope is sealed and the verdict is fixed. The verdict is the
    /// worse of `exit` and a [failure mark](ScopeHandle::mark_failed). It is at least [`Exit::Failed`] if a handle
    /// whose release with `exit` [matters to the client](Resource::settles) is lent, dead or still being acquired. A
    /// pending acquisition is cancelled (law L6).
    ///
    /// Await the future for the result of the releases that matter to the client. They run one after the other, in
    /// reverse order of acquisition, under one deadline (5 s by default) that starts now; releases that start after the
    /// deadline continue in the reaper. Several such releases are not atomic with each other: a second COMMIT may fail
    /// after the first has succeeded. All other handles are released in the reaper, also in reverse order.
    ///
    /// # Errors
    ///
    /// Returns a [`CloseError`] if a release that matters to the client failed, or if `exit` is a success, the verdict is
    /// not, and a handle whose release would have mattered was therefore not completed.
    ///
    /// If there is no such handle, the result is `Ok` although the verdict is a failure: nothing was undone of which the
    /// client has to know. So a scope that is [marked as failed](ScopeHandle::mark_failed) does not turn a success
    /// response into an error by itself; [`ended`](ScopeHandle::ended) returns the verdict.
    ///
    /// # Cancel safety
    ///
    /// Once this function has returned, dropping the future neither stops the releases nor changes their exit; see
    /// [`Close`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Exit, Scopes, error::Chain};
    /// # let scope = Scopes::new().open();
    /// # let status = 200;
    /// let exit = if status < 400 { Exit::Completed } else { Exit::Failed };
    /// match scope.close(exit).await {
    ///     Ok(()) => println!("{status}"),
    ///     Err(error) => println!("500: {}", Chain(&error)), // a COMMIT failed: the response must not be a success
    /// }
    /// # });
    /// ```
    pub fn close(mut self, exit: Exit) -> Close {
        self.open = false;
        Close::begin(&self.handle.state, exit, Caller::Code)
    }
}

impl Drop for Scope {
    #[inline]
    fn drop(&mut self) {
        if self.open {
            // Dropping the close hands the releases to the reaper.
            drop(Close::begin(&self.handle.state, Exit::of_drop(), Caller::Drop));
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// A reference to the scope of a request, for request extensions and function arguments.
///
/// Clones refer to the same scope. A `ScopeHandle` does not keep the scope open: after the close, every `get` returns
/// an error for which [`is_closed`](crate::Error::is_closed) returns `true`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Error, Exit, Resource, ScopeHandle, Scopes};
/// use std::sync::Arc;
///
/// // A function of the request takes the handle by reference, beside the resources that it uses.
/// async fn append<R>(request: &ScopeHandle, lists: &Arc<R>) -> Result<(), Error<R::Cause>>
/// where
///     R: Resource<Handle = Vec<u32>>,
/// {
///     request.lazy(lists).get().await?.push(1);
///     Ok(())
/// }
/// # use std::convert::Infallible;
/// # let lists = Arc::new(reqscope::resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
/// # let scope = Scopes::new().open();
/// # append(scope.handle(), &lists).await.unwrap();
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
#[derive(Clone)]
pub struct ScopeHandle {
    state: StateRef,
}

impl ScopeHandle {
    /// Returns the cell of `resource` in this scope: the same cell for the same `Arc`, and for all clones of one
    /// [`Pool`](crate::Pool), also if each is in an `Arc` of its own.
    ///
    /// This acquires nothing. Another `Arc` of the same type is another resource, with a handle of its own, unless the
    /// two have the same [identity](Resource::identity). This is right for two databases of one type, but a mistake if
    /// each call creates a new `Arc`, so it is reported to the [`Observer`](crate::Observer::second_resource), once per
    /// type.
    pub fn lazy<R: Resource>(&self, resource: &Arc<R>) -> Lazy<R> {
        let slot = self.state.slot(identity(resource), || Slot::new(&self.state, resource));
        Lazy::new(slot.unwrap_or_else(|| Arc::new(Slot::closed(&self.state, resource))))
    }

    /// Marks the scope as failed: the verdict becomes at least [`Exit::Failed`]. This cannot be undone (law L9), and
    /// has no effect if the scope is already closed.
    ///
    /// The response is another matter. If a transaction of the request is therefore rolled back,
    /// [`close`](Scope::close) returns an error, and a success response becomes an error response. If the request has
    /// used nothing whose release matters to the client, the response stays what the handler has returned.
    ///
    /// Use it for a failure that the response does not show, such as one after the status of a streamed response has
    /// been sent:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Exit, Scopes};
    /// # let scope = Scopes::new().open();
    /// # let request = scope.handle();
    /// # let upload: Result<(), std::io::Error> = Err(std::io::Error::other("cut"));
    /// if upload.is_err() {
    ///     request.mark_failed(); // even if the scope is closed as completed, `release` gets `Failed`
    /// }
    /// # scope.close(Exit::Completed).await.unwrap();
    /// # });
    /// ```
    pub fn mark_failed(&self) {
        self.state.mark_failed();
    }

    /// Returns whether the request is over: the handler returned, panicked or timed out, or the client disconnected.
    ///
    /// Use it in code that cannot await: a CPU-bound loop in `spawn_blocking` that does not check it occupies its
    /// thread until the loop is done. The check costs one atomic load.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Exit, Scopes};
    /// # let scope = Scopes::new().open();
    /// let request = scope.handle().clone();
    /// let work = tokio::task::spawn_blocking(move || {
    ///     let mut rounds = 0_u64;
    ///     while !request.is_closed() {
    ///         rounds += 1;
    ///     }
    ///     rounds
    /// });
    /// drop(scope); // the client disconnects
    /// work.await.unwrap();
    /// # });
    /// ```
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Waits until the scope is closed: the handler has returned or was dropped.
    ///
    /// This means "stop working", not "the work is done": nothing has been released at this moment, so another
    /// connection does not see yet what a transaction of the request has written. Use
    /// [`on_completed`](ScopeHandle::on_completed) or [`ended`](ScopeHandle::ended) for work that needs its COMMIT.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is lost, and nothing of it is kept until the close.
    ///
    /// # Examples
    ///
    /// A task that is spawned by a request and stops with it:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Exit, Scopes};
    /// # let scope = Scopes::new().open();
    /// let request = scope.handle().clone();
    /// let poller = tokio::spawn(async move {
    ///     tokio::select! {
    ///         () = request.closed() => "stopped",
    ///         () = std::future::pending() => "never",
    ///     }
    /// });
    /// drop(scope);
    /// assert_eq!(poller.await.unwrap(), "stopped");
    /// # });
    /// ```
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        Closed { scope: self.state.clone(), waiter: WakerTicket::default() }
    }

    /// Registers a future that runs after the request has succeeded: a mail, an event, a job that reads what the request
    /// has written.
    ///
    /// It runs once, in a task of the reaper, after the scope was closed as [`Exit::Completed`] and all releases that
    /// matter to the client, such as a COMMIT, have succeeded. It is dropped without having been polled in every other
    /// case: the scope failed or was [marked as failed](ScopeHandle::mark_failed), the client disconnected, the handler
    /// panicked, a COMMIT failed or its outcome is unknown. [`Lazy::complete`] does not start it: it follows the request,
    /// not one handle.
    ///
    /// The futures of one scope run one after the other, in the order of their registration. Each has a
    /// [deadline](crate::scope::ScopesBuilder::task_timeout), 30 s by default; a failure is counted and reported as
    /// [`Reaper::spawn`](crate::Reaper::spawn) says. The response does not wait for them, a drain does. If the process
    /// is killed between the COMMIT and the future, the future is lost: write an outbox table where that must not
    /// happen.
    ///
    /// The future runs after the end of the request, so the cells of its scope are closed. A handle that it needs is
    /// acquired with [`Lease::acquire`](crate::Lease::acquire) or from a pool. Such a lease belongs to the reaper of the
    /// scope and has its label, so a drain waits for its release too.
    ///
    /// # Errors
    ///
    /// Returns the future in a [`TooLate`], if the scope is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Exit, ScopeHandle, Scopes};
    /// # use std::time::Duration;
    /// use reqscope::scope::TooLate;
    /// # async fn send_mail(to: &str) {}
    ///
    /// async fn place_order(request: &ScopeHandle) {
    ///     // INSERT INTO orders …
    ///     let mail = async { send_mail("customer@example.com").await };
    ///     request.on_completed(mail).expect("the request is running");
    /// }
    /// # let scopes = Scopes::new();
    /// # let scope = scopes.open();
    /// # place_order(scope.handle()).await;
    /// # scope.close(Exit::Completed).await.unwrap();
    /// # assert!(scopes.drain(Duration::from_secs(1)).await.is_clean());
    /// # });
    /// ```
    #[track_caller]
    pub fn on_completed<F>(&self, work: F) -> Result<(), TooLate<F>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.state.on_completed(Box::new(work), Location::caller()).map_err(TooLate::new)
    }

    /// Waits until the scope has ended: it is closed, and all releases that matter to the client have ended.
    ///
    /// Returns the verdict of the scope. After `Ok(Exit::Completed)`, every transaction of the request is committed, and
    /// other connections see what it has written. The result is the same for all callers, also for one that asks after
    /// the end, and also if the front end did not wait for its [`Close`]. Detached leases are not waited for.
    ///
    /// A handler that waits for the end of its own scope waits until its request times out: call it in a task. A drain
    /// does not wait for a task of `tokio::spawn`; it does for one of [`Reaper::spawn`](crate::Reaper::spawn), and for
    /// [`on_completed`](ScopeHandle::on_completed).
    ///
    /// # Errors
    ///
    /// Returns the [`CloseError`] of the close. Its [`is_unknown_outcome`](CloseError::is_unknown_outcome) is `true` if
    /// the close was abandoned, or has not ended within the
    /// [close timeout](crate::scope::ScopesBuilder::close_timeout) and another second, counted from the first poll after
    /// the scope was closed. On a runtime without timers, where no timeout can be kept, that error is returned at once
    /// if the releases are still running.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is lost, and nothing of it is kept.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Exit, Scopes};
    /// # let scope = Scopes::new().open();
    /// let request = scope.handle().clone();
    /// let job = tokio::spawn(async move {
    ///     match request.ended().await {
    ///         Ok(exit) if exit.is_completed() => "reads the new row",
    ///         Ok(_) => "nothing to do",
    ///         Err(error) if error.is_unknown_outcome() => "looks first",
    ///         Err(_) => "nothing to do",
    ///     }
    /// });
    /// scope.close(Exit::Completed).await.unwrap();
    /// assert_eq!(job.await.unwrap(), "reads the new row");
    /// # });
    /// ```
    pub fn ended(&self) -> impl Future<Output = Result<Exit, CloseError>> + Send + use<> {
        Ended::new(self.state.clone())
    }

    /// Returns the deadline of the request, if its front end has set one.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.details().deadline()
    }

    /// Sets the label of the request, such as `GET /orders/{id}`, which is shown beside the handles that the request
    /// acquires from now on; see [`Label`]. Defaults to none. A later call replaces an earlier one.
    ///
    /// The front end for axum sets it from the matched route. Set it yourself where the route says too little, as in
    /// GraphQL:
    ///
    /// ```
    /// # use reqscope::Scopes;
    /// # let scope = Scopes::new().open();
    /// # let request = scope.handle();
    /// request.set_label("mutation placeOrder");
    /// assert_eq!(request.label().unwrap().as_str(), "mutation placeOrder");
    /// ```
    pub fn set_label(&self, label: impl Into<Label>) {
        let label = label.into();
        self.state.describe(|details| details.set_label(label));
    }

    /// Returns the label of the request, if one has been set.
    pub fn label(&self) -> Option<Label> {
        self.state.details().to_label()
    }

    /// Sets the tenant of the request, for the acquisitions that begin later; see [`Tenant`]. Defaults to none. A later
    /// call replaces an earlier one.
    ///
    /// ```
    /// # use reqscope::Scopes;
    /// # let scope = Scopes::new().open();
    /// # let request = scope.handle();
    /// # let customer = String::from("acme");
    /// request.set_tenant(customer); // in the middleware that has authenticated the client
    /// assert_eq!(request.tenant().unwrap().as_str(), "acme");
    /// ```
    pub fn set_tenant(&self, tenant: impl Into<Tenant>) {
        let tenant = tenant.into();
        self.state.describe(|details| details.set_tenant(tenant));
    }

    /// Returns the tenant of the request, if one has been set.
    pub fn tenant(&self) -> Option<Tenant> {
        self.state.details().tenant().cloned()
    }
}

/// Returns the identity of a resource, which is its `Arc` unless it has one of its own.
#[inline]
fn identity<R: Resource>(resource: &Arc<R>) -> Identity {
    let own = catch::call(|| resource.identity()).unwrap_or(None);
    own.unwrap_or_else(|| Identity::of_arc(resource))
}

impl fmt::Debug for ScopeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeHandle").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Waits until a scope is closed.
struct Closed {
    scope: StateRef,
    waiter: WakerTicket,
}

impl Future for Closed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let budget = ready!(coop::poll_proceed(cx));
        let this = &mut *self;
        ready!(this.scope.poll_closed(&mut this.waiter, cx.waker()));
        budget.made_progress();
        Poll::Ready(())
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.scope.leave(&mut self.waiter);
    }
}
