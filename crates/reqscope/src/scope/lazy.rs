use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::cell::state::LazyState;
use crate::cell::waiters::WaiterId;
use crate::cell::{Loan, Site, Take};
use crate::error::{Error, Stage};
use crate::observer::Subject;
use crate::resource::Resource;
use crate::rt::time::Deadline;
use crate::scope::guard::Guard;
use crate::scope::slot::{Slot, TryGet};

/// The request-scoped lazy cell: the one handle of a resource that a request has, if it asks for it.
///
/// Clones are the same cell, and so is every cell that [`ScopeHandle::lazy`](crate::ScopeHandle::lazy) gives out
/// for the same `Arc` of the same request. What is never asked for is never acquired (law L2).
///
/// # In a response body
///
/// The scope closes when the handler has returned, not when the body has been sent; from then on `get` answers
/// [`closed`](Error::is_closed). A body that needs the handle takes it along: [`Guard::detach`].
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
/// list.get().await.unwrap().push("first"); // acquired, lent, given back
/// request.lazy(&lists).get().await.unwrap().push("second"); // the same handle
/// assert_eq!(*list.get().await.unwrap(), ["first", "second"]);
/// # scope.close(Exit::Completed).await.unwrap();
/// # });
/// ```
#[must_use = "a cell acquires nothing until it is asked"]
pub struct Lazy<R: Resource> {
    slot: Arc<Slot<R>>,
}

impl<R: Resource> Lazy<R> {
    pub(crate) fn new(slot: Arc<Slot<R>>) -> Self {
        Lazy { slot }
    }

    /// Borrows the handle; acquires it first if nobody has.
    ///
    /// Concurrent first uses make one acquisition, which belongs to the scope: a caller that is dropped, or alive
    /// but not polled, neither cancels nor stalls it (law L5). It runs in a task of its own as soon as it has to
    /// wait, in the caller's tracing span (feature `tracing`); task-locals do not follow it there.
    ///
    /// The handle is exclusive. Others of the same request get it one after the other; a new `get` lets those who
    /// wait go first, once.
    ///
    /// # Errors
    ///
    /// - what [`Resource::acquire`] answered, shared by all who waited for that attempt; the next `get` tries again
    ///   (law L7)
    /// - [`is_timeout`](Error::is_timeout) after the [acquire timeout](crate::scope::ScopesBuilder::acquire_timeout) (60 s by
    ///   default), or after the [lend timeout](crate::scope::ScopesBuilder::lend_timeout) (5 s) if one other task of this
    ///   request kept its guard for that long; [`holder`](Error::holder) then says where that one was taken
    /// - [`is_closed`](Error::is_closed) once the request is over
    /// - an error that names it, if the acquisition has to wait and there is no tokio runtime, or one without
    ///   timers
    ///
    /// # Deadlock
    ///
    /// A task that holds a guard and asks for a second one waits for itself, until the lend timeout has passed.
    /// Lend the guard down as `&mut` instead.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses its place among the waiters and nothing else. A running acquisition goes on, and
    /// the handle stays in the cell for the next `get` or for the close.
    #[track_caller]
    pub fn get(&self) -> Get<R> {
        Get {
            slot: Some(Arc::clone(&self.slot)),
            site: Location::caller(),
            waiter: WaiterId::default(),
            patience: None,
        }
    }

    /// Borrows the handle if that needs no waiting: it is at home, or
    /// [`try_acquire`](Resource::try_acquire) has one at once.
    ///
    /// `None` also where that panicked or the scope is closed; [`get`](Lazy::get) tells which. It does not stand in line:
    /// a handle at home goes to it, though others wait.
    ///
    /// What was acquired may be used where nothing can wait:
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use reqscope::{Error, Exit, Scopes, resource_fn};
    /// # use std::{convert::Infallible, sync::Arc};
    /// # let scope = Scopes::new().open();
    /// # let lists = Arc::new(resource_fn(|| async { Ok::<_, Error<Infallible>>(Vec::new()) }));
    /// # let list = scope.lazy(&lists);
    /// assert!(list.try_get().is_none()); // nobody has asked for it
    /// list.get().await.unwrap().push("first");
    ///
    /// let guard = list.try_get().unwrap();
    /// assert_eq!(*guard, ["first"]);
    /// assert!(list.try_get().is_none()); // it is lent
    /// # drop(guard);
    /// # scope.close(Exit::Completed).await.unwrap();
    /// # });
    /// ```
    #[track_caller]
    pub fn try_get(&self) -> Option<Guard<R>> {
        match self.slot.try_take(true, Location::caller()) {
            TryGet::Lent(handle) => Some(Guard::new(handle, Arc::clone(&self.slot))),
            // Of an error the observer has heard.
            TryGet::Failed(_) | TryGet::Busy => None,
            TryGet::Started(attempt) => {
                // Whoever queued up meanwhile makes the next one.
                self.slot.cell.retract(attempt.number);
                None
            }
        }
    }

    /// What state the cell is in, at this moment: for logs and tests, as it may be another one a moment later.
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

/// The future of [`Lazy::get`], which says what its errors are.
///
/// # Cancel safety
///
/// Dropping it loses its place among the waiters and nothing else: a running acquisition goes on.
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Examples
///
/// It borrows nothing, so it can be kept, sent or raced against something else:
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
    /// Moves on into the guard.
    slot: Option<Arc<Slot<R>>>,
    site: Site,
    waiter: WaiterId,
    /// For somebody else's guard, whose loan has this number; it begins anew with the next one.
    patience: Option<(u32, Deadline)>,
}

impl<R: Resource> Future for Get<R> {
    type Output = Result<Guard<R>, Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.slot.as_ref().expect(UNENDED).try_take(false, this.site) {
            TryGet::Lent(handle) => this.lent(handle),
            outcome => this.poll_on(outcome, cx),
        }
    }
}

const UNENDED: &str = "`Get` polled after completion";

impl<R: Resource> Get<R> {
    fn lent(&mut self, handle: R::Handle) -> Poll<Result<Guard<R>, Error<R::Cause>>> {
        Poll::Ready(Ok(Guard::new(handle, self.slot.take().expect(UNENDED))))
    }

    /// Goes on from there until there is an answer, or something to wait for.
    #[cold]
    fn poll_on(&mut self, mut outcome: TryGet<R>, cx: &mut Context<'_>) -> Poll<Result<Guard<R>, Error<R::Cause>>> {
        loop {
            let slot = self.slot.as_ref().expect(UNENDED);
            outcome = match outcome {
                TryGet::Lent(handle) => return self.lent(handle),
                TryGet::Failed(error) => return Poll::Ready(Err(error)),
                TryGet::Started(attempt) => slot.make(attempt, self.site, &mut self.waiter, cx),
                TryGet::Busy => match slot.cell.take(&mut self.waiter, self.site, cx.waker(), || slot.count()) {
                    Take::Lent(handle) => TryGet::Lent(handle),
                    Take::Begin(number, counted) => slot.try_make(number, counted, self.site),
                    Take::Wait(Some(loan)) => return self.poll_patience(loan, cx).map(Err),
                    Take::Wait(None) | Take::Yield => return Poll::Pending,
                    Take::Failed(error) => TryGet::Failed(error),
                    Take::Closed => TryGet::Failed(Error::closed()),
                },
            };
        }
    }

    /// Waits for the guard of that loan, for as long as that is reasonable.
    fn poll_patience(&mut self, loan: Loan, cx: &mut Context<'_>) -> Poll<Error<R::Cause>> {
        let slot = self.slot.as_ref().expect(UNENDED);
        let settings = slot.scope.settings();
        let (_, patience) = match &mut self.patience {
            Some(patience) if patience.0 == loan.number => patience,
            patience => patience.insert((loan.number, Deadline::after(settings.lend_timeout))),
        };
        let missed = ready!(patience.poll_missed(Stage::Waiting, cx));
        slot.cell.leave(&mut self.waiter);
        if missed.is_timeout() {
            settings.reaper.accounting().lent_too_long(Subject::of::<R>(self.site), loan.since);
        }
        Poll::Ready(missed.with_holder(loan.since))
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
