use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::clock::Moment;
use super::inner::{Counters, Doubt, HandleMeta, Holder, Inner, Keep, Parts};
use super::slots::{Claim, Work};
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::acquire::is_lost;
use crate::reaper;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::rand;
use crate::rt::runtime::{Runtime, RuntimeId};
use crate::rt::time::{self, Deadline};

pin_project! {
    /// A call of [`Resource::validate`] within a time, whose panics are errors.
    struct Validation<F, W> {
        // `None` once it has ended.
        #[pin]
        future: Option<F>,
        deadline: Option<Box<Deadline>>,
        // Called once the call has to wait.
        waits: W,
    }

    impl<F, W> PinnedDrop for Validation<F, W> {
        fn drop(this: Pin<&mut Self>) {
            let mut future = this.project().future;
            if future.is_some() {
                drop(catch::call(|| future.set(None)));
            }
        }
    }
}

/// Validates a handle until the deadline that `waits` returns, which is called if the resource is not ready at once. A
/// handle that is dead is not validated.
#[inline]
pub(super) fn validate<R: Resource>(
    resource: &R,
    handle: &mut R::Handle,
    waits: impl FnMut() -> Deadline + Send,
) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send {
    // A block, so that the calls themselves, which may panic, are part of the first poll.
    let validate = async move {
        if resource.probe(handle) == Health::Dead {
            return Err(Error::unavailable().with_context("the handle was dead"));
        }
        resource.validate(handle).await
    };
    Validation { future: Some(validate), deadline: None, waits }
}

impl<C, F, W> Future for Validation<F, W>
where
    F: Future<Output = Result<(), Error<C>>>,
    W: FnMut() -> Deadline,
{
    type Output = Result<(), Error<C>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let polled = catch::call(|| {
            let polled = this.future.as_mut().as_pin_mut().map_or(Poll::Pending, |future| future.poll(cx));
            if polled.is_ready() {
                this.future.set(None);
            }
            polled
        });
        match polled {
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            Ok(Poll::Ready(Err(error))) => Poll::Ready(Err(error.at(Stage::Validating))),
            Err(panic) => Poll::Ready(Err(Error::panicked(Stage::Validating, panic.payload()))),
            Ok(Poll::Pending) => {
                let deadline = this.deadline.get_or_insert_with(|| Box::new((this.waits)()));
                deadline.poll_missed(Stage::Validating, cx).map(Err)
            }
        }
    }
}

const NOT_TAKEN: &str = "only methods that consume it take the handle";

/// A handle that may be unsound and has no user, and its slot. Dropping it retires the handle.
///
/// Its task may be one that is not polled any more. Then a waiter gives up the slot, and the handle is retired when the
/// validation ends or is dropped.
pub(super) struct Unproved<R: Resource> {
    /// `None` once it was put back, retired or lent.
    parts: Option<Parts<R>>,
    /// The claim of its slot, which it has once the validation has to wait. Until then, the slot counts as lent.
    claimed: Option<Box<Claimed<R>>>,
    since: Since,
    /// When its validation began. If it succeeds, the handle was alive then, if not later.
    began: Moment,
    /// Whether it was found sound before.
    tested: bool,
    /// The runtime on which it was created, if a check-out has taken it.
    home: Option<RuntimeId>,
}

type Claimed<R> = (Claim, HandleMeta<R>);

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

/// Claims the slot of a handle that is lent.
#[cold]
fn claim<R: Resource>(pool: &Inner<R>, slot: u32) -> Box<Claimed<R>> {
    let overdue = pool.overdue(time::now(), Work::Validating);
    Box::new(pool.state.lock().slots.claim(slot, Work::Validating, overdue))
}

impl<R: Resource> Unproved<R> {
    /// Takes over a handle that a check-out has taken.
    #[inline]
    pub(super) fn taken(parts: Parts<R>, Doubt { left_open, tested, at, home }: Doubt) -> Self {
        let since = if left_open { Since::Returned } else { Since::Idle };
        Unproved { parts: Some(parts), claimed: None, since, began: at, tested, home }
    }

    /// Returns whether a validation could not keep its deadline here, but on the runtime on which the handle was
    /// created.
    #[inline]
    pub(super) fn needs_its_runtime(&self) -> bool {
        let here = Runtime::try_current().ok().map(|here| here.id());
        self.home.is_some() && self.home != here && !time::has_timers()
    }

    /// Takes over a handle whose use has ended, or that was dropped, if there is no verdict.
    pub(super) fn used(parts: Parts<R>, verdict: Option<Exit>) -> Self {
        let cut = verdict.map_or_else(std::thread::panicking, Exit::is_in_doubt);
        let since = Since::Used { exit: verdict.unwrap_or_else(Exit::of_drop), cut };
        let began = parts.pool.clock.now();
        let overdue = began.after(parts.pool.config.validate_timeout);
        let mut state = parts.pool.state.lock();
        let (claim, mut meta) = state.slots.claim(parts.slot, Work::Validating, overdue);
        state.uses += 1;
        drop(state);
        (meta.returned, meta.uses) = (began, meta.uses.saturating_add(1));
        let (tested, home) = (meta.tested, None);
        Unproved { parts: Some(parts), claimed: Some(Box::new((claim, meta))), since, began, tested, home }
    }

    /// Claims its slot, unless that is done already.
    fn claim(&mut self) -> &mut Claimed<R> {
        let Parts { pool, slot, .. } = self.parts.as_ref().expect(NOT_TAKEN);
        self.claimed.get_or_insert_with(|| claim(pool, *slot))
    }

    pub(super) fn pool(&self) -> Arc<Inner<R>> {
        Arc::clone(&self.parts.as_ref().expect(NOT_TAKEN).pool)
    }

    /// Validates the handle.
    #[inline]
    pub(super) fn validate(&mut self) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send {
        let Parts { pool, slot, handle } = self.parts.as_mut().expect(NOT_TAKEN);
        let pool = &**pool;
        let waits = || {
            self.claimed.get_or_insert_with(|| claim(pool, *slot));
            Deadline::after(pool.config.validate_timeout)
        };
        validate(&*pool.resource, handle, waits)
    }

    /// Lends a handle that was validated. Returns `None` if its slot was given up; the handle is then retired.
    #[inline]
    pub(super) fn lend(mut self, holder: impl FnOnce() -> Holder) -> Option<Parts<R>> {
        if self.claimed.is_some() && !self.lend_claimed(holder()) {
            return None;
        }
        let parts = self.parts.take();
        // There is nothing left to drop.
        mem::forget(self);
        parts
    }

    /// Turns the claim into a loan, unless it is void.
    #[cold]
    fn lend_claimed(&mut self, holder: Holder) -> bool {
        let (Some(claimed), Some(Parts { pool, .. })) = (self.claimed.take(), &self.parts) else { return false };
        let (claim, mut meta) = *claimed;
        (meta.proved, meta.tested) = (self.began, true);
        let lent = pool.state.lock().slots.lend_claimed(claim, meta, holder);
        self.claimed = lent.err().map(|meta| Box::new((claim, meta)));
        self.claimed.is_none()
    }

    /// Validates the handle in a task, and puts it back if it is sound. Without a runtime it is retired.
    #[cold]
    pub(super) fn validate_in_background(mut self) {
        let home = self.claim().1.home;
        let home = self.parts.as_ref().and_then(|parts| parts.pool.state.lock().homes.get(home).cloned());
        reaper::spawn(home, Box::pin(self.validate_and_put()));
    }

    /// Validates the handle, and puts it back if it is sound.
    pub(super) async fn validate_and_put(mut self) {
        let (began, outcome) = (self.began, self.validate().await);
        let Err(error) = outcome else { return self.put() };
        let pool = self.is_sign(&error).then(|| self.pool());
        self.fail(&error);
        if let Some(pool) = pool {
            // Handles that were proved since then are left alone. Otherwise a few dead ones would be enough to keep all
            // the others from their users.
            pool.validate_idle(usize::MAX, |meta| meta.proved < began);
        }
    }

    /// Puts a handle back that was validated.
    fn put(mut self) {
        self.claim();
        let (Some(claimed), Some(Parts { pool, handle, .. })) = (self.claimed.take(), self.parts.take()) else {
            return;
        };
        let (claim, mut meta) = *claimed;
        (meta.proved, meta.tested) = (self.began, true);
        let is_old = meta.expires <= self.began || meta.uses >= pool.config.max_uses;
        let keep = if is_old && self.since != Since::Idle { Keep::No } else { Keep::Idle };
        pool.put_claimed(claim, handle, meta, keep);
    }

    /// Returns whether its failed validation is a sign that the idle handles are dead, too. A validation that was lost
    /// with its runtime says nothing about the backend.
    pub(super) fn is_sign(&self, error: &Error<R::Cause>) -> bool {
        self.since == Since::Idle && !is_lost(error)
    }

    /// Retires a handle that failed its validation.
    pub(super) fn fail(self, error: &Error<R::Cause>) {
        let expected = matches!(self.since, Since::Used { cut: true, .. });
        if let Some(Parts { pool, handle, .. }) = self.parts.as_ref().filter(|_| !expected && !is_lost(error)) {
            pool.report_unsound(handle, self.tested);
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Reports a handle that became unusable without a fault of its user to the breaker.
    #[cold]
    fn report_unsound(&self, handle: &R::Handle, tested: bool) {
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
        let began = self.clock.now();
        let overdue = began.after(self.config.validate_timeout);
        let suspects = self.state.lock().slots.claim_idle(most, Work::Validating, overdue, which);
        let count = suspects.len();
        for (claim, handle, meta) in suspects {
            let parts = Some(Parts { pool: Arc::clone(self), slot: claim.slot(), handle });
            let (tested, claimed) = (meta.tested, Some(Box::new((claim, meta))));
            Unproved { parts, claimed, since: Since::Idle, began, tested, home: None }.validate_in_background();
        }
        count
    }
}

impl<R: Resource> Drop for Unproved<R> {
    fn drop(&mut self) {
        if self.parts.is_some() {
            self.claim();
        }
        let (Some(claimed), Some(Parts { pool, handle, .. })) = (self.claimed.take(), self.parts.take()) else {
            return;
        };
        let (claim, meta) = *claimed;
        let exit = match self.since {
            Since::Used { exit, .. } => exit,
            Since::Idle | Since::Returned => Exit::of_drop(),
        };
        Counters::add(&pool.counters.unsound, 1);
        pool.retire(Some(claim), handle, pool.account(meta), exit);
    }
}
