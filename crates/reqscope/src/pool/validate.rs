use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::inner::{HandleMeta, Inner};
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::acquire::is_lost;
use crate::lease::{Caller, probe_or_dead};
use crate::reaper;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::time::Deadline;

impl<R: Resource> Inner<R> {
    /// Calls [`Resource::validate`] within a time, and turns panics into errors.
    pub(super) async fn validate(&self, handle: &mut R::Handle, within: Duration) -> Result<(), Error<R::Cause>> {
        // A block, so that the call itself, which may panic, is part of the first poll.
        let mut validating = pin!(Some(async { self.resource.validate(handle).await }));
        let mut deadline = Deadline::after(within);
        let outcome = poll_fn(|cx| match catch::call(|| poll_some(validating.as_mut(), cx)) {
            Ok(Poll::Pending) => deadline.poll_missed(Stage::Validating, cx).map(Err),
            Ok(Poll::Ready(outcome)) => Poll::Ready(outcome.map_err(|error| error.at(Stage::Validating))),
            Err(panic) => Poll::Ready(Err(Error::panicked(Stage::Validating, panic.payload()))),
        })
        .await;
        // If it was cut, dropping it runs user code.
        drop(catch::call(|| validating.set(None)));
        outcome
    }
}

/// Polls the future, which is there.
fn poll_some<F: Future>(future: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.as_pin_mut().map_or(Poll::Pending, |future| future.poll(cx))
}

const NOT_TAKEN: &str = "only methods that consume it take the handle";

/// A handle that may be unsound and has no user. Dropping it retires the handle.
pub(super) struct Unvalidated<R: Resource> {
    pool: Arc<Inner<R>>,
    slot: u32,
    /// `None` once it was put back, retired or taken out.
    handle: Option<R::Handle>,
    exit: Exit,
    /// Whether it was lent to a user since it was idle.
    used: bool,
}

impl<R: Resource> Unvalidated<R> {
    pub(super) fn new(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle) -> Self {
        Unvalidated { pool, slot, handle: Some(handle), exit: Exit::of_drop(), used: true }
    }

    /// Takes a handle that was idle.
    pub(super) fn idle(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle) -> Self {
        let mut idle = Unvalidated::new(pool, slot, handle);
        idle.used = false;
        idle
    }

    /// Returns the handle, for a caller that validates it itself.
    pub(super) fn handle(&mut self) -> &mut R::Handle {
        self.handle.as_mut().expect(NOT_TAKEN)
    }

    /// Takes the handle out. The caller is responsible for it and its slot.
    pub(super) fn into_handle(mut self) -> R::Handle {
        self.handle.take().expect(NOT_TAKEN)
    }

    /// Validates the handle in a task, or, if `caller` allows it, in place as far as it does not have to wait. Without
    /// a runtime the handle is retired.
    pub(super) fn validate_in_background(self, caller: Caller) {
        let exit = self.exit;
        let home = self.pool.state.lock().slots.meta(self.slot).and_then(|meta| meta.account.runtime().cloned());
        let in_place = caller.may_poll(home.as_ref());
        let mut validation = Box::pin(self.validate(exit));
        // The task polls the validation before anything else, so no wake-up is lost.
        if in_place && validation.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        reaper::spawn(home, validation);
    }

    /// Validates the handle and puts it back if it is sound.
    pub(super) async fn validate(mut self, exit: Exit) {
        self.exit = exit;
        let began = self.pool.clock.now();
        let Some(handle) = &mut self.handle else { return };
        let mut lost = false;
        let sound = probe_or_dead(&*self.pool.resource, handle) != Health::Dead && {
            let outcome = self.pool.validate(handle, self.pool.config.validate_timeout).await;
            lost = outcome.as_ref().is_err_and(is_lost);
            outcome.is_ok()
        };
        match self.handle.take_if(|_| sound) {
            Some(handle) if self.used => self.pool.put(self.slot, handle),
            Some(handle) => self.pool.put_back_validated(self.slot, handle),
            // A lost validation says nothing about the other handles.
            None if self.used || lost => {}
            None => {
                let pool = Arc::clone(&self.pool);
                drop(self);
                // Handles that were seen alive since then are left alone. Otherwise a few dead ones would be enough to
                // keep all the others from their users.
                pool.validate_idle(|meta| meta.alive_at() < began);
            }
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Validates the idle handles that `which` selects, all at the same time.
    pub(super) fn validate_idle(self: &Arc<Self>, which: impl FnMut(&HandleMeta<R>) -> bool) {
        let suspects = self.state.lock().slots.take_idle(usize::MAX, self.own_holder(), which);
        for (slot, handle) in suspects {
            Unvalidated::idle(Arc::clone(self), slot, handle).validate_in_background(Caller::Drop);
        }
    }
}

impl<R: Resource> Drop for Unvalidated<R> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.pool.discard(self.slot, handle, self.exit);
        }
    }
}
