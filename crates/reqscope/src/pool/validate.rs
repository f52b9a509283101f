use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::clock::Moment;
use super::inner::{Counters, HandleMeta, Holder, Inner, Keep};
use super::slots::{Claim, Work};
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::acquire::is_lost;
use crate::lease::probe_or_dead;
use crate::reaper;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::rand;
use crate::rt::runtime::Runtime;
use crate::rt::time::{self, Deadline};

pin_project! {
    /// A future of user code, which is dropped without a panic.
    struct QuietFuture<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for QuietFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            drop(catch::call(|| this.project().future.set(None)));
        }
    }
}

/// Calls [`Resource::validate`] within a time, and turns panics into errors.
pub(super) async fn within<R: Resource>(
    resource: &R,
    handle: &mut R::Handle,
    timeout: Duration,
) -> Result<(), Error<R::Cause>> {
    // A block, so that the call itself, which may panic, is part of the first poll.
    let mut validating = std::pin::pin!(QuietFuture { future: Some(async { resource.validate(handle).await }) });
    let mut deadline = None;
    poll_fn(|cx| match catch::call(|| poll_some(validating.as_mut().project().future, cx)) {
        Ok(Poll::Pending) => {
            deadline.get_or_insert_with(|| Deadline::after(timeout)).poll_missed(Stage::Validating, cx).map(Err)
        }
        Ok(Poll::Ready(outcome)) => Poll::Ready(outcome.map_err(|error| error.at(Stage::Validating))),
        Err(panic) => Poll::Ready(Err(Error::panicked(Stage::Validating, panic.payload()))),
    })
    .await
}

/// Polls the future, which is there.
fn poll_some<F: Future>(future: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.as_pin_mut().map_or(Poll::Pending, |future| future.poll(cx))
}

const NOT_TAKEN: &str = "only methods that consume it take the handle";

/// A handle that may be unsound and has no user, and its slot. Dropping it retires the handle.
///
/// Its task may be one that is not polled any more. Then a waiter gives up the slot, and the handle is retired when the
/// validation ends or is dropped.
pub(super) struct Unproved<R: Resource> {
    pool: Arc<Inner<R>>,
    claim: Claim,
    /// `None` once it was put back, retired or lent.
    parts: Option<(R::Handle, HandleMeta<R>)>,
    since: Since,
    /// When its validation began. If it succeeds, the handle was alive then, if not later.
    began: Moment,
}

/// What a handle has done since it was proved.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Since {
    /// It was idle. If it is dead, the others may be, too.
    Idle,
    /// It was returned without being looked at.
    Returned,
    /// A use has ended. If it was cut, a failed validation is to be expected.
    Used { exit: Exit, cut: bool },
}

impl Since {
    /// Returns how the handle is released if it is unsound.
    fn exit(self) -> Exit {
        match self {
            Since::Idle | Since::Returned => Exit::of_drop(),
            Since::Used { exit, .. } => exit,
        }
    }
}

impl<R: Resource> Unproved<R> {
    /// Takes over a handle that is lent.
    pub(super) fn new(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle, since: Since, now: Instant) -> Self {
        let overdue = pool.overdue(now, Work::Validating);
        let (claim, meta) = pool.state.lock().slots.claim(slot, Work::Validating, overdue);
        let began = pool.clock.at(now);
        Unproved { pool, claim, parts: Some((handle, meta)), since, began }
    }

    /// Takes over a handle whose use has ended, or that was dropped, if there is no verdict.
    pub(super) fn used(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle, verdict: Option<Exit>) -> Self {
        let cut = verdict.map_or_else(std::thread::panicking, Exit::is_in_doubt);
        let exit = verdict.unwrap_or_else(Exit::of_drop);
        let mut used = Self::new(pool, slot, handle, Since::Used { exit, cut }, time::now());
        used.pool.state.lock().uses += 1;
        let began = used.began;
        let (_, meta) = used.parts();
        (meta.returned, meta.uses) = (began, meta.uses.saturating_add(1));
        used
    }

    /// Returns whether a validation could not keep its deadline here, but on the runtime on which the handle was
    /// created.
    pub(super) fn needs_its_runtime(&mut self) -> bool {
        let here = Runtime::try_current().ok().map(|here| here.id());
        let home = self.parts().1.account.runtime().map(Runtime::id);
        home.is_some() && home != here && !time::has_timers()
    }

    fn parts(&mut self) -> &mut (R::Handle, HandleMeta<R>) {
        self.parts.as_mut().expect(NOT_TAKEN)
    }

    /// Validates the handle. A handle that is dead is not asked.
    pub(super) async fn validate(&mut self) -> Result<(), Error<R::Cause>> {
        let resource = self.pool.resource.clone();
        let timeout = self.pool.config.validate_timeout;
        let (handle, _) = self.parts();
        if probe_or_dead(&*resource, handle) == Health::Dead {
            return Err(Error::unavailable().at(Stage::Validating).with_context("the handle was dead"));
        }
        within(&*resource, handle, timeout).await
    }

    /// Marks the handle as proved.
    fn prove(&mut self) {
        let began = self.began;
        let (_, meta) = self.parts();
        (meta.proved, meta.tested) = (began, true);
    }

    /// Lends a handle that was validated, and returns its slot and the handle. Returns `None` if its slot was given up;
    /// the handle is then retired.
    pub(super) fn lend(mut self, holder: Holder) -> Option<(u32, R::Handle)> {
        self.prove();
        let (handle, meta) = self.parts.take().expect(NOT_TAKEN);
        let lent = self.pool.state.lock().slots.lend_claimed(self.claim, meta, holder);
        match lent {
            Ok(slot) => Some((slot, handle)),
            Err(meta) => {
                self.parts = Some((handle, meta));
                None
            }
        }
    }

    /// Validates the handle in a task, and puts it back if it is sound. Without a runtime it is retired.
    #[cold]
    pub(super) fn validate_in_background(mut self) {
        let home = self.parts().1.account.runtime().cloned();
        reaper::spawn(home, Box::pin(self.validate_and_put()));
    }

    /// Validates the handle, and puts it back if it is sound.
    pub(super) async fn validate_and_put(mut self) {
        let began = self.began;
        let outcome = self.validate().await;
        let pool = Arc::clone(&self.pool);
        match outcome {
            Ok(()) => {
                self.prove();
                let (handle, meta) = self.parts.take().expect(NOT_TAKEN);
                let is_old = meta.expires <= began || meta.uses >= pool.config.max_uses;
                let keep = if is_old && self.since != Since::Idle { Keep::No } else { Keep::Idle };
                pool.put_claimed(self.claim, handle, meta, keep);
            }
            Err(error) => {
                let is_sign = self.is_sign(&error);
                self.fail(&error);
                if is_sign {
                    // Handles that were proved since then are left alone. Otherwise a few dead ones would be enough to
                    // keep all the others from their users.
                    pool.validate_idle(usize::MAX, |meta| meta.proved < began);
                }
            }
        }
    }

    /// Returns whether its failed validation is a sign that the idle handles are dead, too. A validation that was lost
    /// with its runtime says nothing about the backend.
    pub(super) fn is_sign(&self, error: &Error<R::Cause>) -> bool {
        self.since == Since::Idle && !is_lost(error)
    }

    /// Retires a handle that failed its validation.
    pub(super) fn fail(mut self, error: &Error<R::Cause>) {
        let expected = matches!(self.since, Since::Used { cut: true, .. });
        if !expected && !is_lost(error) {
            let pool = Arc::clone(&self.pool);
            let (handle, meta) = self.parts();
            pool.report_unsound(handle, meta.tested);
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Reports a handle that became unusable without a fault of its user to the breaker.
    #[cold]
    pub(super) fn report_unsound(&self, handle: &R::Handle, tested: bool) {
        let counts = |error: &Error<R::Cause>| error.is_unavailable() || error.is_exhausted();
        let fault = catch::call(|| self.resource.fault(handle)).ok().flatten().filter(counts);
        let mut state = self.state.lock();
        state.stillborn = state.stillborn.saturating_add(u32::from(!tested));
        let forgotten = fault.and_then(|fault| state.breaker.fault(time::now(), fault, rand::fraction()));
        let wakers = state.hopeless();
        drop(state);
        drop(forgotten);
        catch::wake_all(wakers);
    }

    /// Validates at most `most` of the idle handles that `which` selects, all at the same time, each in a task of its
    /// own: one that blocks must not stop the others. Returns how many there are.
    pub(super) fn validate_idle(self: &Arc<Self>, most: usize, which: impl FnMut(&HandleMeta<R>) -> bool) -> usize {
        let now = time::now();
        let (overdue, began) = (self.overdue(now, Work::Validating), self.clock.at(now));
        let suspects = self.state.lock().slots.claim_idle(most, Work::Validating, overdue, which);
        let count = suspects.len();
        for (claim, handle, meta) in suspects {
            let parts = Some((handle, meta));
            Unproved { pool: Arc::clone(self), claim, parts, since: Since::Idle, began }.validate_in_background();
        }
        count
    }
}

impl<R: Resource> Drop for Unproved<R> {
    fn drop(&mut self) {
        if let Some((handle, meta)) = self.parts.take() {
            Counters::add(&self.pool.counters.unsound, 1);
            self.pool.retire(Some(self.claim), handle, meta.account, self.since.exit());
        }
    }
}
