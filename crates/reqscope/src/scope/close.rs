use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use crate::exit::Exit;
use crate::lease::Caller;
use crate::reaper;
use crate::rt::runtime::Runtime;
use crate::rt::time::{self, Deadline};
use crate::scope::close_error::{CloseError, Problem};
use crate::scope::erased::{ErasedRelease, ErasedSlot, ErasedSlots, Sealing};
use crate::scope::state::{PendingWork, Sealed, StateRef};

/// The close of a scope, returned by [`Scope::close`](crate::Scope::close).
///
/// Completes when the releases whose outcome matters to the client have ended. The other releases run in the reaper,
/// and the future does not wait for them (law L11).
///
/// # Errors
///
/// Returns a [`CloseError`] if the response must not be a success.
///
/// # Cancel safety
///
/// If the future is dropped, at any point, the running release and all releases after it continue in the reaper.
/// Neither the releases nor their exit change; only the result is lost.
///
/// The result is returned once. If the future is polled again after completion, it returns `Ok`.
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
/// assert!(request.is_closed()); // at once, before the first poll
/// close.await.unwrap();
/// # });
/// ```
#[must_use = "if this is dropped, the releases continue, but their result is lost"]
pub struct Close(
    /// `None` if nothing is left to wait for, and nothing has failed: for most closes from the beginning on.
    Option<Box<CloseState>>,
);

#[allow(clippy::large_enum_variant, reason = "it is boxed, and few closes have one; its size depends on features")]
enum CloseState {
    Running(Closing),
    /// Nothing is left to wait for.
    Failed(CloseError),
}

impl Close {
    pub(crate) fn begin(scope: &StateRef, requested: Exit, caller: Caller) -> Self {
        let Sealed { slots, work } = scope.seal(requested);
        // Also if user code panics, or else every later drain would wait for this scope until its timeout.
        let _counted = CountClosed(scope);
        let alone = match &slots {
            _ if work.is_some() => None,
            ErasedSlots::None => Some(requested.worst(scope.marked_exit())),
            ErasedSlots::One(only) => only.close_alone(requested, caller),
            ErasedSlots::Many(_) => None,
        };
        match alone {
            Some(verdict) => {
                scope.end(verdict);
                Close(None)
            }
            None => Close(Closing::begin(scope.clone(), slots, work, requested, caller).map(Box::new)),
        }
    }
}

/// Counts the scope as closed when it is dropped.
struct CountClosed<'a>(&'a StateRef);

impl Drop for CountClosed<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Future for Close {
    type Output = Result<(), CloseError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0.is_none() { Poll::Ready(Ok(())) } else { self.poll_rest(cx) }
    }
}

impl Close {
    #[cold]
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseError>> {
        let Some(state) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let outcome = match &mut **state {
            CloseState::Running(closing) => ready!(Pin::new(closing).poll(cx)),
            CloseState::Failed(error) => Err(error.clone()),
        };
        self.0 = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Close {
    #[inline]
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            hand_over_close(*state);
        }
    }
}

/// Hands the rest of a close to the reaper.
#[cold]
fn hand_over_close(state: CloseState) {
    if let CloseState::Running(closing) = state {
        let runtime = closing.current.as_ref().and_then(|release| release.runtime.clone());
        // Each release is counted by itself.
        reaper::spawn(runtime, async move { drop(closing.await) });
    }
}

impl fmt::Debug for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_running = matches!(self.0.as_deref(), Some(CloseState::Running(_)));
        f.debug_struct("Close").field("done", &!is_running).finish_non_exhaustive()
    }
}

/// The three phases of law L10. Unlike [`Close`], a dropped `Closing` does not hand itself to the reaper, only each
/// release that is left.
struct Closing {
    scope: StateRef,
    /// The futures of `on_completed`. `None` once the close has ended.
    work: Option<Box<PendingWork>>,
    requested: Exit,
    verdict: Exit,
    problems: Vec<Problem>,
    /// The slots with an idle handle, in the order of their release.
    slots: ErasedSlots,
    /// The slots whose handle has begun to end before the close, if that matters to the client.
    ending: Vec<Arc<dyn ErasedSlot>>,
    /// The settling release that is running.
    current: Option<ErasedRelease>,
    /// The deadline of all settling releases together, which begins with the first.
    deadline: Option<Deadline>,
    /// Whether `current` began after the deadline.
    overdue: bool,
    /// Whether the result has been stored in the scope.
    ended: bool,
}

impl Closing {
    /// Runs the first two phases, and begins the third.
    #[cold]
    fn begin(
        scope: StateRef,
        mut slots: ErasedSlots,
        work: Option<Box<PendingWork>>,
        requested: Exit,
        caller: Caller,
    ) -> Option<CloseState> {
        let mut problems = Vec::new();
        let mut ending = Vec::new();
        slots.retain(|slot| {
            let sealing = slot.seal(requested, &mut problems);
            if sealing == Sealing::Ending {
                ending.push(Arc::clone(slot));
            }
            sealing == Sealing::Idle
        });

        let mut verdict = requested.worst(scope.marked_exit());
        if !problems.is_empty() {
            verdict = verdict.worst(Exit::Failed);
        }
        if requested.is_completed() && !verdict.is_completed() {
            let undone = slots.as_slice().iter().filter(|slot| slot.settles(requested));
            problems.extend(undone.map(|slot| Problem::NotCompleted { resource: slot.resource() }));
        }

        slots.sort(verdict);
        let mut closing = Closing {
            scope,
            work,
            requested,
            verdict,
            problems,
            slots,
            ending,
            current: None,
            deadline: None,
            overdue: false,
            ended: false,
        };
        closing.begin_next(caller);
        if closing.current.is_none() {
            return closing.end().err().map(CloseState::Failed);
        }
        Some(CloseState::Running(closing))
    }

    /// Ends the close: stores its result in the scope, and starts or drops the futures of `on_completed`. Returns the
    /// result.
    fn end(&mut self) -> Result<(), CloseError> {
        let mut problems = mem::take(&mut self.problems);
        if self.requested.is_completed() {
            problems.extend(self.scope.take_problems());
        }
        let outcome = CloseError::of(self.requested, self.verdict, problems).map_or(Ok(()), Err);
        match &outcome {
            Ok(()) => self.scope.end(self.verdict),
            Err(error) => self.scope.end_with(error.clone()),
        }
        self.ended = true;
        if let Some(work) = self.work.take() {
            let PendingWork { task, home } = *work;
            if outcome.is_ok() && self.verdict.is_completed() {
                reaper::spawn(home, task);
            } else {
                task.discard();
            }
        }
        outcome
    }

    /// Begins the next settling release that has to wait, or, after the last one, all other releases.
    fn begin_next(&mut self, caller: Caller) {
        let verdict = self.verdict;
        while let Some(slot) = self.ending.pop() {
            let deadline = self.deadline.get_or_insert_with(|| Deadline::after(self.scope.accounting().limits.close));
            self.current = slot.wait_for_end(deadline);
            if self.current.is_some() {
                return;
            }
        }
        while let Some(slot) = self.slots.peek() {
            if !slot.settles(verdict) {
                return hand_over(&mut self.slots, verdict, caller);
            }
            let deadline = self.deadline.get_or_insert_with(|| Deadline::after(self.scope.accounting().limits.close));
            self.overdue = deadline.has_passed();
            // A release that hung must not stop the releases after it, which have the usual timeout.
            self.current = slot.release(verdict, (!self.overdue).then_some(deadline));
            drop(self.slots.next());
            if self.current.is_some() {
                return;
            }
        }
    }

    /// Polls the settling release that is running. A release that began after the deadline is polled once; if it has to
    /// wait, it continues in the reaper.
    fn poll_current(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        let Some(release) = &mut self.current else { return Poll::Ready(Ok(())) };
        let outcome = release.future.as_mut().poll(cx);
        if outcome.is_pending() && !self.overdue {
            return Poll::Pending;
        }
        let Some(ErasedRelease { future, runtime, resource }) = self.current.take() else { return outcome };
        if outcome.is_pending() {
            reaper::spawn(runtime, async move { drop(future.await) });
            return Poll::Ready(Err(Problem::StillReleasing { resource }));
        }
        outcome
    }
}

/// Begins the releases that no client waits for, in their order. Most of them end at once, without a task.
fn hand_over(slots: &mut ErasedSlots, verdict: Exit, caller: Caller) {
    let mut releases = Vec::new();
    while let Some(slot) = slots.next() {
        releases.extend(slot.release(verdict, None));
    }
    releases.retain_mut(|release| {
        let in_place = caller.may_poll(release.runtime.as_ref());
        // The task polls the release before anything else, so no wake-up is lost.
        !in_place || release.future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    });
    // Elsewhere each release is dropped here, in its order, and continues in the runtime of its acquisition.
    if !releases.is_empty() && can_run_here(&releases) {
        reaper::spawn(None, ConcurrentReleases(releases));
    }
}

/// Returns whether all of the releases can run on the current runtime. Without timers it could not keep the deadline of
/// a release, which the runtime of the acquisition may.
fn can_run_here(releases: &[ErasedRelease]) -> bool {
    let Ok(here) = Runtime::try_current() else { return false };
    let is_from_here = |release: &ErasedRelease| release.runtime.as_ref().is_none_or(|home| home.id() == here.id());
    releases.iter().all(is_from_here) || time::has_timers()
}

impl Future for Closing {
    type Output = Result<(), CloseError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.current.is_some() {
            if let Err(problem) = ready!(this.poll_current(cx)) {
                this.problems.push(problem);
            }
            this.begin_next(Caller::Code);
        }
        Poll::Ready(this.end())
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // No runtime ran this close, or its runtime has ended. The handles that are left must not stay in their cells,
        // which a `Lazy` may keep alive, or lose their exit: each release goes to a runtime on which it can still run,
        // else it is abandoned. This close does not wait for their results.
        let current = self.current.take();
        self.problems.extend(current.iter().map(|release| Problem::StillReleasing { resource: release.resource }));
        drop(current);
        self.problems.extend(self.ending.drain(..).map(|slot| Problem::StillReleasing { resource: slot.resource() }));
        while let Some(slot) = self.slots.next() {
            if slot.settles(self.verdict) {
                self.problems.push(Problem::StillReleasing { resource: slot.resource() });
            }
            drop(slot.release(self.verdict, None));
        }
        // The error is stored in the scope.
        drop(self.end());
    }
}

/// Runs releases that no client waits for, started in their order. Those that have to wait continue concurrently, so a
/// release that hangs does not delay the others: each in a task of its own, or else every wake-up would poll all of them.
struct ConcurrentReleases(Vec<ErasedRelease>);

impl Future for ConcurrentReleases {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Errors have been reported to the observer.
        self.0.retain_mut(|release| release.future.as_mut().poll(cx).is_pending());
        // The last one stays. A task polls its release before anything else, so no wake-up is lost.
        let first = self.0.len().min(1);
        for ErasedRelease { future, .. } in self.0.split_off(first) {
            reaper::spawn(None, async move { drop(future.await) });
        }
        if self.0.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}
