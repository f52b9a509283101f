use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::cell::state::LazyState;
use crate::cell::waiters::WaiterId;
use crate::cell::{NotGivenUp, Obstacle, Site, Take, WaitFor};
use crate::error::{Error, Situation, Stage};
use crate::exit::Exit;
use crate::lease::acquire::NOT_DRIVEN;
use crate::observer::Subject;
use crate::resource::Resource;
use crate::rt::runtime::coop;
use crate::rt::time::Deadline;
use crate::scope::ending::Completion;
use crate::scope::guard::Guard;
use crate::scope::slot::{Slot, TryGet};
use crate::scope::try_get_error::TryGetError;

/// A lazy cell of one request, which holds the request's one handle of a resource.
///
/// Clones are the same cell, and so are all cells that [`ScopeHandle::lazy`](crate::ScopeHandle::lazy) returns for the
/// same `Arc` in the same request. A cell that is never used acquires nothing (law L2).
///
/// # In a response body
///
/// The scope closes when the handler has returned, not when the body has been sent. From then on `get` returns an error
/// for which [`is_closed`](Error::is_closed) returns `true`. A body that needs the handle has to own it; see
/// [`Guard::detach`].
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Error, Exit, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
/// # let scope = Scopes::new().open();
/// # let request = scope.handle();
/// let lists = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
/// let list = request.lazy(&lists); // nothing is acquired yet
///
/// list.get().await.unwrap().push("first"); // acquired, lent, returned
/// request.lazy(&lists).get().await.unwrap().push("second"); // the same handle
/// assert_eq!(*list.get().await.unwrap(), ["first", "second"]);
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
#[must_use = "a cell acquires nothing until `get` is called"]
pub struct Lazy<R: Resource> {
    slot: Arc<Slot<R>>,
}

impl<R: Resource> Lazy<R> {
    pub(crate) fn new(slot: Arc<Slot<R>>) -> Self {
        Lazy { slot }
    }

    /// Borrows the handle, after acquiring it if there is none.
    ///
    /// Concurrent first uses make one acquisition, which belongs to the scope: a caller that is dropped, or alive but
    /// not polled, neither cancels nor stalls it (law L5). An acquisition that has to wait moves to a task of its own,
    /// which runs in the caller's tracing span (feature `tracing`) but without the caller's task-locals.
    ///
    /// The loan is exclusive. Callers of the same request get the handle one after the other, in the order in which they
    /// began to wait; a new `get` that finds waiters lets them go first, once. A waiter whose turn it is, but which is
    /// not polled within 10 ms, is overtaken by the next one, and is first again as soon as it is polled.
    ///
    /// Each `get` counts against tokio's [cooperative budget](tokio::task::coop): a task whose budget is used up waits
    /// for its next turn, even if the handle is idle, so that a loop of `get`s does not starve other tasks.
    ///
    /// # Errors
    ///
    /// - the error that [`Resource::acquire`] returned, shared by all callers that waited for that attempt; the next
    ///   `get` tries again (law L7)
    /// - [`is_timeout`](Error::is_timeout) after the [acquire timeout](crate::scope::ScopesBuilder::acquire_timeout)
    ///   (60 s by default), or after the [lend timeout](crate::scope::ScopesBuilder::lend_timeout) (5 s) if the waiter at
    ///   the head of the queue was not served for that long, because another guard of this request was held, or several by
    ///   [`try_get`](Lazy::try_get); [`holder`](Error::holder) then returns the line that took it.
    ///   Each caller keeps these deadlines itself: one that waits for an acquisition on a runtime that has stopped
    ///   running tasks gives it up, and the next caller begins another one
    /// - [`is_timeout`](Error::is_timeout) once the [deadline of the request](crate::Scope::set_deadline) has passed: at
    ///   once, or at the deadline if `get` waits; an idle handle is still lent
    /// - [`is_closed`](Error::is_closed) once the request is over
    /// - [`is_runtime`](Error::is_runtime) if the caller has to wait outside of a tokio runtime with timers, or if its
    ///   runtime ended while it acquired the handle. Other callers do not get this error; they begin again
    ///
    /// # Deadlock
    ///
    /// A task that holds a guard and calls `get` again waits for itself, until the lend timeout has passed. Pass the
    /// guard on as `&mut` instead.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, it loses its place among the waiters and nothing else. A running acquisition
    /// continues, and the handle stays in the cell for the next `get` or for the close.
    #[track_caller]
    pub fn get(&self) -> Get<R> {
        Get { slot: Some(Arc::clone(&self.slot)), site: Location::caller(), waiter: WaiterId::default(), wait: None }
    }

    /// Borrows the handle without waiting, if it is idle or if [`try_acquire`](Resource::try_acquire) returns one.
    ///
    /// `try_get` does not queue: it takes an idle handle even if there are waiters. A task that calls it in a loop can keep
    /// the handle from them until their [lend timeout](crate::scope::ScopesBuilder::lend_timeout) has passed; use
    /// [`get`](Lazy::get) there.
    ///
    /// # Errors
    ///
    /// Returns the reason if there is no guard: the handle is lent or being acquired, acquiring it has to wait,
    /// `try_acquire` panicked, or the scope is closed; see [`TryGetError`].
    ///
    /// # Examples
    ///
    /// Use it in code that cannot wait, once the handle has been acquired:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Exit, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// use reqscope::scope::TryGetError;
    ///
    /// # let scope = Scopes::new().open();
    /// # let lists = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
    /// # let list = scope.lazy(&lists);
    /// assert!(matches!(list.try_get(), Err(TryGetError::WouldWait))); // not acquired yet
    /// list.get().await.unwrap().push("first");
    ///
    /// let guard = list.try_get().unwrap();
    /// assert_eq!(*guard, ["first"]);
    /// assert!(matches!(list.try_get(), Err(TryGetError::Lent { .. })));
    /// # drop(guard);
    /// # scope.close(Exit::Completed).await.unwrap();
    /// # });
    /// ```
    #[track_caller]
    pub fn try_get(&self) -> Result<Guard<R>, TryGetError<R::Cause>> {
        let site = Location::caller();
        loop {
            match self.slot.try_take(true, site) {
                TryGet::Lent(handle) => return Ok(Guard::new(handle, Arc::clone(&self.slot))),
                TryGet::Failed(error) => return Err(TryGetError::Failed(error)),
                TryGet::Started(attempt) => {
                    // A caller that has joined the queue meanwhile starts the next attempt.
                    drop(self.slot.give_up(attempt.number));
                    return Err(TryGetError::WouldWait);
                }
                TryGet::Busy => match self.slot.cell.obstacle() {
                    Some(Obstacle::Lent(holder)) => return Err(TryGetError::Lent { holder }),
                    Some(Obstacle::Acquiring) => return Err(TryGetError::Acquiring),
                    Some(Obstacle::Ending) => return Err(TryGetError::Ending),
                    Some(Obstacle::Closed) => return Err(TryGetError::Closed),
                    // Gone since `try_take` met it.
                    None => {}
                },
            }
        }
    }

    /// Releases the request's handle now, as completed: a transaction is committed before the request ends.
    ///
    /// Use it to give a connection back before slow work that does not need it, or for a second transaction in the same
    /// request. From the first poll on, no caller gets this handle any more. The next [`get`](Lazy::get) waits for the
    /// end of the release, and acquires another handle. Without a handle, `complete` does nothing.
    ///
    /// If a guard of the handle is held, `complete` waits until it is dropped, up to the
    /// [lend timeout](crate::scope::ScopesBuilder::lend_timeout) (5 s by default).
    ///
    /// **Work that is completed early stays committed if the request fails later.** Only the work since then is rolled
    /// back, and what waits for the end of the request acts on its failure: futures of
    /// [`on_completed`](crate::ScopeHandle::on_completed) are dropped, although this part is committed. Start what belongs
    /// to it after `complete` has returned, for example with [`Reaper::spawn`](crate::Reaper::spawn).
    ///
    /// A guard in a temporary lives to the end of its statement, so `complete` in an arm of `match tx.get().await?…` waits
    /// for itself. Bind the result first.
    ///
    /// # Errors
    ///
    /// - the error that [`Resource::release`] returned. If it [matters to the client](Resource::settles), the request is
    ///   marked as failed: it ends as a failure, and with a [`CloseError`](crate::CloseError) that contains this one,
    ///   even if the handler ignores the error
    /// - [`is_timeout`](Error::is_timeout) after the
    ///   [close timeout](crate::scope::ScopesBuilder::close_timeout) (5 s by default), in which case it is
    ///   [unknown](Error::is_unknown_outcome) whether the release took effect; or after the lend timeout if a guard was
    ///   held for that long; [`holder`](Error::holder) then returns the line that took it, and the handle stays in use
    /// - [`is_failed`](Error::is_failed) if the request [was marked as failed](crate::ScopeHandle::mark_failed), because
    ///   the handle was then released as failed
    /// - [`is_closed`](Error::is_closed) once the request is over, or if the handle was [detached](Guard::detach)
    ///   meanwhile
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the handle is still released, with the same exit, by the reaper:
    /// at once, or when its guard is dropped. The close of the scope waits for the release. Only the result is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Exit, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let scopes = Scopes::new();
    /// # let scope = scopes.open();
    /// # let transactions = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
    /// let transaction = scope.lazy(&transactions);
    /// transaction.get().await.unwrap().push("order 17");
    /// transaction.complete().await.unwrap(); // committed; the connection is free
    ///
    /// transaction.get().await.unwrap().push("audit"); // another transaction
    /// # assert_eq!(scopes.stats().acquired, 2);
    /// # scope.close(Exit::Completed).await.unwrap();
    /// # });
    /// ```
    #[track_caller]
    pub fn complete(&self) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send + use<R> {
        Completion::new(&self.slot, Exit::Completed)
    }

    /// Releases the request's handle now, as failed: a transaction is rolled back, and the next [`get`](Lazy::get)
    /// acquires another handle. The request itself is not marked as failed, not even if the release fails or is given up,
    /// unless a failure to release as failed [matters to the client](Resource::settles).
    ///
    /// In everything else it is like [`complete`](Lazy::complete).
    ///
    /// # Errors
    ///
    /// The same as those of [`complete`](Lazy::complete), except that an early failure is what was asked for.
    ///
    /// # Cancel safety
    ///
    /// The same as that of [`complete`](Lazy::complete): if the future is dropped while it waits for a guard, the handle is
    /// still released as failed when the guard is dropped, and so are the writes that the guard has made meanwhile. The
    /// request is not marked as failed, so its response may be a success.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Exit, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let scope = Scopes::new().open();
    /// # let transactions = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
    /// let transaction = scope.lazy(&transactions);
    /// transaction.get().await.unwrap().push("a draft");
    /// transaction.fail().await.unwrap(); // rolled back
    ///
    /// assert!(transaction.get().await.unwrap().is_empty());
    /// # scope.close(Exit::Completed).await.unwrap();
    /// # });
    /// ```
    #[track_caller]
    pub fn fail(&self) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send + use<R> {
        Completion::new(&self.slot, Exit::Failed)
    }

    /// Returns the current state of the cell, for logs and tests. The state may change at any moment.
    pub fn state(&self) -> LazyState {
        self.slot.cell.state()
    }
}

impl<R: Resource> Clone for Lazy<R> {
    fn clone(&self) -> Self {
        Lazy { slot: Arc::clone(&self.slot) }
    }
}

impl<R: Resource> fmt::Debug for Lazy<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// The future returned by [`Lazy::get`], whose docs list the errors.
///
/// # Cancel safety
///
/// If the future is dropped, it loses its place among the waiters and nothing else: a running acquisition continues.
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Examples
///
/// The future borrows nothing, so it can be stored, sent to a task or used in `select!`:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::future::Get;
/// # use reqscope::{Error, Exit, Scopes, resource_fn};
/// # use std::{convert::Infallible, sync::Arc};
/// # let scope = Scopes::new().open();
/// # let numbers = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(7) }));
/// let early: Get<_> = scope.lazy(&numbers).get();
/// let number = tokio::spawn(async move { *early.await.unwrap() });
/// assert_eq!(number.await.unwrap(), 7);
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Get<R: Resource> {
    /// `None` once the slot has moved into the guard.
    slot: Option<Arc<Slot<R>>>,
    site: Site,
    waiter: WaiterId,
    /// What this future waits for, and the deadline of that wait, which restarts with each attempt, and with each waiter
    /// before this one that is served.
    wait: Option<(WaitFor, Deadline)>,
}

impl<R: Resource> Future for Get<R> {
    type Output = Result<Guard<R>, Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let budget = ready!(coop::poll_proceed(cx));
        let this = &mut *self;
        let slot = this.slot.as_ref().expect(UNENDED);
        let first = if this.waiter.is_registered() { TryGet::Busy } else { slot.try_take(false, this.site) };
        let outcome = match first {
            TryGet::Lent(handle) => this.lent(handle),
            outcome => this.poll_on(outcome, cx),
        };
        if outcome.is_ready() {
            budget.made_progress();
        }
        outcome
    }
}

const UNENDED: &str = "`Get` polled after completion";

impl<R: Resource> Get<R> {
    fn lent(&mut self, handle: R::Handle) -> Poll<Result<Guard<R>, Error<R::Cause>>> {
        Poll::Ready(Ok(Guard::new(handle, self.slot.take().expect(UNENDED))))
    }

    /// Continues from `outcome` until there is a result, or something to wait for.
    #[cold]
    fn poll_on(&mut self, mut outcome: TryGet<R>, cx: &mut Context<'_>) -> Poll<Result<Guard<R>, Error<R::Cause>>> {
        let waited = self.waiter.is_registered();
        loop {
            let slot = self.slot.as_ref().expect(UNENDED);
            outcome = match outcome {
                TryGet::Lent(handle) => return self.lent(handle),
                TryGet::Failed(error) => return Poll::Ready(Err(error)),
                TryGet::Started(attempt) => slot.make(attempt, self.site, &mut self.waiter, cx),
                TryGet::Busy => match slot.cell.take(&mut self.waiter, self.site, cx.waker()) {
                    Take::Lent(handle) => TryGet::Lent(handle),
                    Take::Begin(number) => slot.try_make_late(number, self.site),
                    Take::Wait(reason) => match ready!(self.poll_wait(reason, cx)) {
                        Some(error) => return Poll::Ready(Err(error)),
                        None => TryGet::Busy,
                    },
                    Take::Yield => return Poll::Pending,
                    Take::Failed(error) => TryGet::Failed(error),
                    Take::Closed => TryGet::Failed(Error::closed_as(Situation::ScopeClosed { waited })),
                },
            };
        }
    }

    /// Waits until a deadline of this wait has passed, which this future keeps by itself: what it waits for may be in a
    /// task that is not polled, or on a runtime that is not driven. Returns `None` if the cell may have something for it
    /// now.
    fn poll_wait(&mut self, reason: WaitFor, cx: &mut Context<'_>) -> Poll<Option<Error<R::Cause>>> {
        let slot = self.slot.as_ref().expect(UNENDED);
        let stage = match reason {
            WaitFor::Attempt(_) => Stage::Acquiring,
            WaitFor::Loan(_) | WaitFor::Turn(_) => Stage::Waiting,
            WaitFor::End(_) => Stage::Releasing,
        };
        let (_, deadline) = match &mut self.wait {
            Some(wait) => {
                if wait.0 != reason {
                    wait.0 = reason;
                    wait.1.replace(slot.limit(reason));
                }
                wait
            }
            wait => wait.insert((reason, slot.limit(reason))),
        };
        let missed = ready!(deadline.poll_missed(stage, cx));
        match reason {
            WaitFor::Turn(turn) if missed.is_timeout() => {
                slot.cell.overtake(turn);
                return Poll::Ready(None);
            }
            WaitFor::End(number) if missed.is_timeout() => {
                slot.give_up_end(number, &missed);
                slot.cell.leave(&mut self.waiter);
                return Poll::Ready(Some(missed));
            }
            WaitFor::Attempt(attempt) if missed.is_timeout() => {
                let given_up = slot.give_up(attempt);
                if let Err(NotGivenUp::AlreadyEnded) = given_up {
                    // This is not the wait whose deadline has passed.
                    return Poll::Ready(None);
                }
                let missed = if deadline.is_requests() { missed } else { missed.with_context(NOT_DRIVEN) };
                slot.cell.leave(&mut self.waiter);
                if given_up.is_ok() {
                    slot.report_given_up(self.site, &missed);
                }
                return Poll::Ready(Some(missed));
            }
            _ => {}
        }
        let lent_too_long = missed.is_timeout() && !deadline.is_requests();
        slot.cell.leave(&mut self.waiter);
        let WaitFor::Loan(loan) = reason else { return Poll::Ready(Some(missed)) };
        if lent_too_long {
            let subject = Subject::of::<R>(self.site, &slot.scope.details());
            slot.scope.accounting().lent_too_long(subject, loan.since);
        }
        Poll::Ready(Some(missed.with_own_guard(loan.since)))
    }
}

impl<R: Resource> Drop for Get<R> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            slot.cell.leave(&mut self.waiter);
        }
    }
}

impl<R: Resource> fmt::Debug for Get<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.slot.as_ref().map(|slot| slot.cell.state());
        f.debug_struct("Get").field("state", &state).finish_non_exhaustive()
    }
}
