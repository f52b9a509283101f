use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::exit::Exit;
use crate::reaper;
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;
use crate::scope::close_error::{CloseError, Problem};
use crate::scope::erased::{Job, Tenants};
use crate::scope::state::ScopeState;

/// The end of a scope, begun by [`Scope::close`](crate::Scope::close).
///
/// Ready when the releases whose outcome matters to the client have ended. The others run in the reaper, and are
/// not waited for (law L11).
///
/// # Errors
///
/// A [`CloseError`], if the client must not hear of a success.
///
/// # Cancel safety
///
/// What was begun is not undone: dropping the future, at any point, hands the release in flight and all that come
/// after it to the reaper. Neither the releases nor their exit change; only the outcome goes unheard.
///
/// The outcome is told once: polled again after its end, it answers `Ok`.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use reqscope::future::Close;
/// # use reqscope::{Exit, Scopes};
/// # let scope = Scopes::new().open();
/// let request = scope.handle().clone();
/// let close: Close = scope.close(Exit::Completed);
/// assert!(request.is_closed()); // at once, before anybody awaits
/// close.await.unwrap();
/// # });
/// ```
#[must_use = "the releases go on if this is dropped, but nobody hears whether they failed"]
pub struct Close {
    /// `None` once it is over; most are when they begin.
    closing: Option<Box<Closing>>,
}

impl Close {
    pub(crate) fn begin(scope: &ScopeState, told: Exit) -> Self {
        let closing = match scope.seal() {
            Tenants::None => None,
            Tenants::One(only) if only.close_alone(told) => None,
            tenants => Closing::begin(scope, tenants, told),
        };
        scope.close();
        Close { closing }
    }
}

impl Future for Close {
    type Output = Result<(), CloseError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(closing) = &mut self.closing else {
            return Poll::Ready(Ok(()));
        };
        let outcome = ready!(Pin::new(&mut **closing).poll(cx));
        self.closing = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Close {
    #[inline]
    fn drop(&mut self) {
        if let Some(closing) = self.closing.take() {
            closing.hand_over();
        }
    }
}

impl fmt::Debug for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Close").field("over", &self.closing.is_none()).finish_non_exhaustive()
    }
}

/// The three phases of law L10. Unlike [`Close`] it does not hand itself to the reaper when it is dropped, only each
/// release that is left.
struct Closing {
    told: Exit,
    verdict: Exit,
    problems: Vec<Problem>,
    /// Those with a handle at home, in the order of their release.
    tenants: Tenants,
    /// The settling release that has been begun.
    current: Option<Job>,
    patience: Duration,
    /// One for all settling releases; it begins with the first.
    deadline: Option<Deadline>,
    /// Whether `current` was begun after that.
    overdue: bool,
}

impl Closing {
    /// The first two phases, and the beginning of the third. `None`: nothing is left to do or to say.
    #[cold]
    fn begin(scope: &ScopeState, mut tenants: Tenants, told: Exit) -> Option<Box<Self>> {
        let mut problems = Vec::new();
        tenants.retain(|tenant| tenant.seal(told, &mut problems));

        let mut verdict = told.worst(scope.marked());
        if !problems.is_empty() {
            verdict = verdict.worst(Exit::Failed);
        }
        if told.is_completed() && !verdict.is_completed() {
            let undone = tenants.as_slice().iter().filter(|tenant| tenant.settles(told));
            problems.extend(undone.map(|tenant| Problem::NotCompleted { resource: tenant.resource() }));
        }

        tenants.sort(verdict);
        if !tenants.peek().is_some_and(|tenant| tenant.settles(verdict)) {
            hand_over(&mut tenants, verdict);
            if problems.is_empty() {
                return None;
            }
        }
        let patience = scope.settings().close_timeout;
        let mut closing =
            Closing { told, verdict, problems, tenants, current: None, patience, deadline: None, overdue: false };
        closing.begin_next();
        (closing.current.is_some() || !closing.problems.is_empty()).then(|| Box::new(closing))
    }

    /// Goes on in the reaper.
    #[cold]
    fn hand_over(self: Box<Self>) {
        if let Some(job) = &self.current {
            let home = job.home.clone();
            reaper::spawn(home, async move {
                // Each release is on the books by itself.
                drop(self.await);
            });
        }
    }

    /// Begins the next settling release that has to wait, or, after the last, all the others.
    fn begin_next(&mut self) {
        let verdict = self.verdict;
        while let Some(tenant) = self.tenants.peek() {
            if !tenant.settles(verdict) {
                return hand_over(&mut self.tenants, verdict);
            }
            let deadline = self.deadline.get_or_insert_with(|| Deadline::after(self.patience));
            self.overdue = deadline.has_passed();
            // One that hung must not stop those behind it: they have the time that any release has.
            self.current = tenant.release(verdict, (!self.overdue).then_some(deadline));
            drop(self.tenants.next());
            if self.current.is_some() {
                return;
            }
        }
    }

    /// The end of the settling release that was begun. One that was begun after the deadline is polled once; if it
    /// has to wait, it goes on in the reaper.
    fn poll_current(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        let Some(job) = &mut self.current else { return Poll::Ready(Ok(())) };
        let outcome = job.future.as_mut().poll(cx);
        if outcome.is_pending() && !self.overdue {
            return Poll::Pending;
        }
        let Some(Job { future, home, resource }) = self.current.take() else { return outcome };
        if outcome.is_pending() {
            reaper::spawn(home, async move { drop(future.await) });
            return Poll::Ready(Err(Problem::StillReleasing { resource }));
        }
        outcome
    }
}

/// Begins the releases for which nobody waits, in their order.
fn hand_over(others: &mut Tenants, verdict: Exit) {
    let mut jobs = Vec::new();
    while let Some(tenant) = others.next() {
        jobs.extend(tenant.release(verdict, None));
    }
    // Outside of any runtime each job is dropped, one by one, and finds the runtime that it came from.
    if !jobs.is_empty() && Runtime::try_current().is_ok() {
        reaper::spawn(None, Together(jobs));
    }
}

impl Future for Closing {
    type Output = Result<(), CloseError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.current.is_some() {
            if let Err(problem) = ready!(this.poll_current(cx)) {
                this.problems.push(problem);
            }
            this.begin_next();
        }
        let problems = std::mem::take(&mut this.problems);
        Poll::Ready(CloseError::of(this.told, this.verdict, problems).map_or(Ok(()), Err))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        // No runtime took it, or its runtime has ended. What is left must not stay in its cell, which a `Lazy` may
        // keep, nor forget its exit: each release goes by itself to where it can still run, else it is abandoned.
        drop(self.current.take());
        while let Some(tenant) = self.tenants.next() {
            drop(tenant.release(self.verdict, None));
        }
    }
}

/// Releases that nobody waits for, side by side in one task, begun in their order: one that hangs holds up no
/// other.
struct Together(Vec<Job>);

impl Future for Together {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // What failed has told the observer.
        self.0.retain_mut(|job| job.future.as_mut().poll(cx).is_pending());
        if self.0.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}
