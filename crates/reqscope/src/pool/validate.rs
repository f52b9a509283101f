use std::future::Future;
use std::mem;
use std::sync::Arc;

use super::inner::{Doubt, HandleMeta, Inner, NOT_TAKEN, Parts, UNPROVED};
use super::slots::Work;
use crate::error::Error;
use crate::exit::Exit;
use crate::lease::acquire::is_lost;
use crate::lease::context::Holder;
use crate::lease::validate::validate;
use crate::reaper;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::rand;
use crate::rt::time::{self, Deadline};

/// A handle that may be unsound and has no user, and its slot. Dropping it retires the handle.
///
/// Its task may be one that is not polled any more. Then a waiter gives up the slot, and the handle is retired when the
/// validation ends or is dropped.
pub(super) struct Unproved<R: Resource> {
    /// `None` once it was put back, retired or lent.
    parts: Option<Parts<R>>,
    doubt: Doubt,
    /// Whether its slot counts as validating, which it does once the validation has to wait. Until then, it counts as
    /// lent.
    waits: bool,
}

impl<R: Resource> Unproved<R> {
    #[inline]
    pub(super) fn new(parts: Parts<R>, doubt: Doubt) -> Self {
        Unproved { parts: Some(parts), doubt, waits: false }
    }

    /// Takes over a handle whose use has ended, or that was dropped, if there is no verdict.
    pub(super) fn used(parts: Parts<R>, verdict: Option<Exit>) -> Self {
        let mut state = parts.pool.state.lock();
        let now = state.clock.now();
        state.uses += 1;
        let meta = state.meta(parts.slot);
        (meta.since, meta.uses) = (now, meta.uses.saturating_add(1));
        let mut doubt = meta.doubt(now);
        drop(state);
        let panicked = || std::thread::panicking().then_some(Exit::Panicked);
        (doubt.used, doubt.verdict) = (true, verdict.or_else(panicked));
        Unproved::new(parts, doubt)
    }

    fn parts(&self) -> &Parts<R> {
        self.parts.as_ref().expect(NOT_TAKEN)
    }

    /// Validates the handle.
    #[inline]
    pub(super) fn validate(&mut self) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send {
        let Parts { pool, slot, handle } = self.parts.as_mut().expect(NOT_TAKEN);
        let pool = &**pool;
        let waits = || {
            self.waits = true;
            pool.begin_validation(*slot)
        };
        validate(&*pool.resource, handle, waits)
    }

    /// Lends a handle that was validated. Returns `None` if its slot was given up; the handle is then retired.
    #[inline]
    pub(super) fn lend(mut self, holder: impl FnOnce() -> Holder) -> Option<Parts<R>> {
        if self.waits && !self.parts().pool.state.lock().slots.lend(self.parts().slot, holder()) {
            return None;
        }
        let parts = self.parts.take();
        // There is nothing left to drop.
        mem::forget(self);
        parts
    }

    /// Validates the handle in a task, and puts it back if it is sound. Without a runtime it is retired.
    #[cold]
    pub(super) fn validate_in_background(self) {
        let Parts { pool, slot, .. } = self.parts();
        drop(pool.begin_validation(*slot));
        let mut state = pool.state.lock();
        let home = state.meta(*slot).home;
        let home = state.homes.get(home).cloned();
        drop(state);
        reaper::spawn(home, Box::pin(self.validate_and_put()));
    }

    /// Validates the handle, and puts it back if it is sound.
    pub(super) async fn validate_and_put(mut self) {
        match self.validate().await {
            Ok(()) => {
                let (Doubt { used, at, .. }, parts) = (&self.doubt, self.parts.take());
                let Parts { pool, slot, handle } = parts.expect(NOT_TAKEN);
                let most = pool.config.max_uses;
                pool.put_unused(slot, handle, |meta| !used || meta.expires > *at && meta.uses < most);
            }
            // Lost with its runtime, which says nothing about the backend.
            Err(error) if is_lost(&error) => {}
            Err(_) => {
                self.doubt_others();
                self.fail();
            }
        }
    }

    /// Validates the idle handles for which its failed validation is a sign that they are dead, too: those that were not
    /// proved since. If it was in use since it was proved, that may have been the cause, and only those are validated that
    /// must be in any case.
    ///
    /// Handles that were proved since then are left alone. Otherwise a few dead ones would be enough to keep all the
    /// others from their users.
    pub(super) fn doubt_others(&self) {
        let proved_until = if self.doubt.used { UNPROVED } else { self.doubt.at };
        if !self.was_cut() {
            self.parts().pool.validate_idle(usize::MAX, |meta| meta.proved <= proved_until);
        }
    }

    /// Retires a handle that was dead or failed its validation. If no fault of its user explains that, it is reported to
    /// the breaker.
    #[cold]
    pub(super) fn fail(self) {
        if self.was_cut() {
            return;
        }
        let Parts { pool, handle, .. } = self.parts();
        let counts = |error: &Error<R::Cause>| error.is_unavailable() || error.is_exhausted();
        let fault = catch::call(|| pool.resource.fault(handle)).ok().flatten().filter(counts);
        let mut state = pool.state.lock();
        state.stillborn = state.stillborn.saturating_add(u32::from(!self.doubt.tested));
        let forgotten = fault.and_then(|fault| state.breaker.fault(time::now(), fault, rand::fraction()));
        let wakers = state.hopeless();
        drop(state);
        drop(forgotten);
        catch::wake_all(wakers);
    }

    fn was_cut(&self) -> bool {
        self.doubt.verdict.is_some_and(Exit::is_in_doubt)
    }
}

impl<R: Resource> Inner<R> {
    /// Validates at most `most` of the idle handles that `which` selects, all at the same time, each in a task of its
    /// own: one that blocks must not stop the others.
    pub(super) fn validate_idle(self: &Arc<Self>, most: usize, mut which: impl FnMut(&HandleMeta<R>) -> bool) {
        let mut state = self.state.lock();
        let now = state.clock.now();
        let mut left = 0..most;
        let claimed = state.slots.claim(Work::Validating, |_, meta| which(meta) && left.next().is_some());
        let doubts: Vec<_> = claimed.iter().map(|(slot, _)| state.meta(*slot).doubt(now)).collect();
        drop(state);
        for ((slot, handle), doubt) in claimed.into_iter().zip(doubts) {
            Unproved::new(Parts { pool: Arc::clone(self), slot, handle }, doubt).validate_in_background();
        }
    }

    /// Counts a slot as validating, and returns the deadline of its validation.
    #[cold]
    fn begin_validation(&self, slot: u32) -> Deadline {
        let timeout = self.config.validate_timeout;
        let mut state = self.state.lock();
        let overdue = state.clock.now().after(timeout);
        state.slots.occupy(slot, Work::Validating, overdue);
        Deadline::after(timeout)
    }
}

impl<R: Resource> Drop for Unproved<R> {
    fn drop(&mut self) {
        let Some(Parts { pool, slot, handle }) = self.parts.take() else { return };
        pool.state.lock().so_far.unsound += 1;
        pool.retire(slot, handle, None, self.doubt.verdict.unwrap_or_else(Exit::of_drop));
    }
}
