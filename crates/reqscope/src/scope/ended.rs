//! Waiting for the end of a scope.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::rt::runtime::coop;
use crate::rt::time::Deadline;
use crate::rt::wakers::WakerTicket;
use crate::scope::close_error::{CloseError, Problem};
use crate::scope::state::{EndPoll, StateRef};

/// Waits until a scope has ended, in [`ScopeHandle::ended`](crate::ScopeHandle::ended).
pub(crate) struct Ended {
    scope: StateRef,
    waiter: WakerTicket,
    /// Since the first poll after the seal. The close has a deadline, but its task may be one that no thread drives.
    deadline: Option<Deadline>,
}

/// How much longer than the close a waiter waits, so that it gets the result of a close that uses up its time.
const GRACE: Duration = Duration::from_secs(1);

impl Ended {
    pub(crate) fn new(scope: StateRef) -> Self {
        Ended { scope, waiter: WakerTicket::default(), deadline: None }
    }
}

impl Future for Ended {
    type Output = Result<Exit, CloseError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let budget = ready!(coop::poll_proceed(cx));
        let this = &mut *self;
        let requested = match this.scope.poll_ended(&mut this.waiter, cx.waker()) {
            EndPoll::Open => return Poll::Pending,
            EndPoll::Sealed(requested) => requested,
            EndPoll::Ended(outcome) => {
                budget.made_progress();
                return Poll::Ready(outcome);
            }
        };
        let limit = this.scope.accounting().limits.close.saturating_add(GRACE);
        let deadline = this.deadline.get_or_insert_with(|| Deadline::after(limit));
        let missed: Error<std::convert::Infallible> = ready!(deadline.poll_missed(Stage::Waiting, cx));
        let problem = Problem::StillClosing { waited: missed.elapsed().unwrap_or_default() };
        let error = CloseError::of(requested, requested.worst(Exit::Failed), vec![problem]);
        Poll::Ready(error.map_or(Ok(requested), Err))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.scope.leave(&mut self.waiter);
    }
}

/// The error of [`ScopeHandle::on_completed`](crate::ScopeHandle::on_completed) on a scope that is closed: too late for
/// a future that runs only if the scope completes. It returns the future. Like every error that `?` converts, it is
/// `Sync`, also if the future is not.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::{Exit, Scopes};
/// # let scope = Scopes::new().open();
/// let request = scope.handle().clone();
/// scope.close(Exit::Completed).await.unwrap();
///
/// let too_late = request.on_completed(async { println!("sent") }).unwrap_err();
/// if request.ended().await.is_ok_and(|exit| exit.is_completed()) {
///     too_late.into_inner().await; // or spawn it
/// }
/// # });
/// ```
pub struct TooLate<F>(Mutex<Box<F>>);

impl<F> TooLate<F> {
    pub(crate) fn new(work: Box<F>) -> Self {
        TooLate(Mutex::new(work))
    }

    /// Returns the future, which has not been polled.
    pub fn into_inner(self) -> F {
        *self.0.into_inner()
    }
}

impl<F> fmt::Debug for TooLate<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TooLate").finish_non_exhaustive()
    }
}

impl<F> fmt::Display for TooLate<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the scope is closed: register the work before the handler returns, or wait for the end of the scope",
        )
    }
}

impl<F> std::error::Error for TooLate<F> {}
