//! The early end of a handle, by `Lazy::complete` and `Lazy::fail`.
//!
//! 1. A release that has to wait runs in the reaper, so a caller that waits for it may be dropped or not be polled.
//! 2. Its failure is stored in the scope before any waiter sees the end, so no close after it is a success.
//! 3. A waiter whose deadline passes gives the end up, as the release may be on a runtime that is not driven.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use crate::cell::waiters::WaiterId;
use crate::cell::{End, Ending, Site, WaitFor};
use crate::error::{Error, Situation, Stage};
use crate::exit::Exit;
use crate::lease::{Caller, Release, end};
use crate::observer::Subject;
use crate::reaper;
use crate::reaper::account::Account;
use crate::resource::Resource;
use crate::rt::runtime::coop;
use crate::rt::time::Deadline;
use crate::scope::close_error::Problem;
use crate::scope::slot::{Slot, failed};

/// Ends the handle of a slot early, and waits for its release.
pub(crate) struct Completion<R: Resource> {
    slot: Arc<Slot<R>>,
    site: Site,
    exit: Exit,
    /// Whether it has marked a lent handle.
    marked: bool,
    waiter: WaiterId,
    wait: Option<(WaitFor, Deadline)>,
    /// The result, while the budget of its task is used up.
    outcome: Option<Result<(), Error<R::Cause>>>,
}

impl<R: Resource> Completion<R> {
    #[track_caller]
    pub(crate) fn new(slot: &Arc<Slot<R>>, exit: Exit) -> Self {
        let (slot, site) = (Arc::clone(slot), Location::caller());
        Completion { slot, site, exit, marked: false, waiter: WaiterId::default(), wait: None, outcome: None }
    }

    /// Waits until the deadline of this wait has passed, which this future keeps by itself. Returns `None` if the handle has
    /// ended meanwhile.
    fn poll_missed(&mut self, reason: WaitFor, cx: &mut Context<'_>) -> Poll<Option<Error<R::Cause>>> {
        let stage = if let WaitFor::Loan(_) = reason { Stage::Waiting } else { Stage::Releasing };
        let (_, deadline) = match &mut self.wait {
            Some(wait) => {
                if wait.0 != reason {
                    wait.0 = reason;
                    wait.1.replace(self.slot.limit(reason));
                }
                wait
            }
            wait => wait.insert((reason, self.slot.limit(reason))),
        };
        let missed = ready!(deadline.poll_missed(stage, cx));
        let is_requests = deadline.is_requests();
        if let WaitFor::Loan(_) = reason {
            if !self.slot.cell.unmark(&mut self.waiter, self.exit) {
                return Poll::Ready(None);
            }
        }
        self.slot.cell.leave(&mut self.waiter);
        Poll::Ready(Some(match reason {
            WaitFor::Loan(loan) => {
                if missed.is_timeout() && !is_requests {
                    let subject = Subject::of::<R>(self.site, &self.slot.scope.details());
                    self.slot.scope.accounting().lent_too_long(subject, loan.since);
                }
                missed.with_own_guard(loan.since)
            }
            WaitFor::End(number) => {
                if missed.is_timeout() {
                    self.slot.give_up_end(number, &missed);
                }
                missed
            }
            WaitFor::Attempt(_) | WaitFor::Turn(_) => missed,
        }))
    }
}

impl<R: Resource> Future for Completion<R> {
    type Output = Result<(), Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The end begins in the first poll, also without a budget: a caller that is dropped after it has been promised that.
        let outcome = match self.outcome.take() {
            Some(outcome) => outcome,
            None => ready!(self.poll_end(cx)),
        };
        match coop::poll_proceed(cx) {
            Poll::Ready(budget) => {
                budget.made_progress();
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                self.outcome = Some(outcome);
                Poll::Pending
            }
        }
    }
}

impl<R: Resource> Completion<R> {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<R::Cause>>> {
        let this = self;
        loop {
            match this.slot.cell.end(&mut this.waiter, cx.waker(), this.exit, &mut this.marked) {
                End::Begin(ending) => {
                    let wait_for_end = |waker: &Waker| this.slot.cell.wait_for_end(&mut this.waiter, waker);
                    this.slot.begin_end(ending, Some((cx, wait_for_end)));
                }
                End::Wait(reason) => {
                    if let Some(error) = ready!(this.poll_missed(reason, cx)) {
                        return Poll::Ready(Err(error));
                    }
                }
                End::Ended(exit) if this.exit.is_completed() && !exit.is_completed() => {
                    return Poll::Ready(Err(Error::not_completed()));
                }
                End::Ended(_) | End::Unused => return Poll::Ready(Ok(())),
                End::Failed(error) => return Poll::Ready(Err(error)),
                End::Closed => {
                    let waited = this.wait.is_some();
                    return Poll::Ready(Err(Error::closed_as(Situation::ScopeClosed { waited })));
                }
            }
        }
    }
}

impl<R: Resource> Drop for Completion<R> {
    /// Leaves the mark on a handle that is lent, so that it still ends when it is returned.
    fn drop(&mut self) {
        self.slot.cell.leave(&mut self.waiter);
    }
}

impl<R: Resource> Slot<R> {
    /// Releases a handle that ends early. A caller that is a future waits for the end; it passes its context, and how
    /// to register with its waker.
    pub(crate) fn begin_end(
        self: &Arc<Self>,
        ending: Ending<R::Handle, Account<R>>,
        caller: Option<(&mut Context<'_>, impl FnOnce(&Waker))>,
    ) {
        let Ending { lent, stub, exit, number } = ending;
        let exit = exit.worst(self.scope.marked_exit());
        let mut cx = Context::from_waker(Waker::noop());
        let (kind, cx) = match caller {
            Some((context, wait_for_end)) => {
                wait_for_end(context.waker());
                (Caller::Code, context)
            }
            None => (Caller::Drop, &mut cx),
        };
        match end(self.resource(), lent, stub, exit, Deadline::after) {
            Ok(None) => self.ended(number, exit, Ok(())),
            Err(error) => self.ended(number, exit, Err(error)),
            Ok(Some(release)) => {
                let runtime = release.runtime().cloned();
                let in_place = kind.may_poll(runtime.as_ref());
                let mut early = EarlyRelease { release, slot: Arc::clone(self), number, exit, over: false };
                // The task polls it again first, so no wake-up is lost.
                if !in_place || Pin::new(&mut early).poll(cx).is_pending() {
                    reaper::spawn(runtime, early);
                }
            }
        }
    }

    /// Ends an early end: its failure, if it matters to the client, counts for the whole scope.
    fn ended(&self, number: u32, exit: Exit, outcome: Result<(), Error<R::Cause>>) {
        match outcome {
            Ok(()) => self.cell.ended(number, Ok(exit)),
            Err(error) => {
                if self.cell.ending_as(number).is_some() && self.settles(exit) {
                    self.scope.failed_early(failed::<R>(error.clone()));
                }
                self.cell.ended(number, Err(&error));
            }
        }
    }

    /// Gives an end up that has missed its deadline, because its task is not polled. The outcome is unknown, which
    /// matters to the client only if the end itself does: not for a ROLLBACK.
    pub(crate) fn give_up_end(&self, number: u32, missed: &Error<R::Cause>) {
        if let Some(exit) = self.cell.ending_as(number) {
            self.ended(number, exit, Err(missed.clone()));
        }
    }

    /// Returns the future with which a close waits for an early end, or `None` if that is over. Its failure is in the
    /// scope.
    pub(crate) fn wait_for_end(self: Arc<Self>, deadline: Deadline) -> Option<WaitForEnd<R>> {
        self.cell.ending()?;
        Some(WaitForEnd { slot: self, waiter: WaiterId::default(), deadline })
    }
}

/// The running release of a handle that ends early.
struct EarlyRelease<R: Resource> {
    release: Release<R>,
    slot: Arc<Slot<R>>,
    number: u32,
    exit: Exit,
    over: bool,
}

impl<R: Resource> Future for EarlyRelease<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let outcome = ready!(Pin::new(&mut self.release).poll(cx));
        self.over = true;
        self.slot.ended(self.number, self.exit, outcome);
        Poll::Ready(())
    }
}

impl<R: Resource> Drop for EarlyRelease<R> {
    fn drop(&mut self) {
        if !self.over {
            let error = Error::runtime("the runtime that ran the release has ended").at(Stage::Releasing);
            self.slot.ended(self.number, self.exit, Err(error));
        }
    }
}

/// Waits for an early end, up to the deadline of the close.
pub(crate) struct WaitForEnd<R: Resource> {
    slot: Arc<Slot<R>>,
    waiter: WaiterId,
    deadline: Deadline,
}

impl<R: Resource> Future for WaitForEnd<R> {
    type Output = Result<(), Problem>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let End::Wait(_) = this.slot.cell.end(&mut this.waiter, cx.waker(), Exit::Completed, &mut true) else {
            return Poll::Ready(Ok(()));
        };
        let _: Error<R::Cause> = ready!(this.deadline.poll_missed(Stage::Releasing, cx));
        Poll::Ready(Err(Problem::StillReleasing { resource: std::any::type_name::<R>() }))
    }
}

impl<R: Resource> Drop for WaitForEnd<R> {
    fn drop(&mut self) {
        self.slot.cell.leave(&mut self.waiter);
    }
}
