use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::inner::{Inner, Note, Stub};
use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::lease::probe_or_dead;
use crate::reaper;
use crate::resource::{Health, Resource};
use crate::rt::catch;
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;

impl<R: Resource> Inner<R> {
    /// [`Resource::validate`] within a time, with panics turned into errors.
    pub(super) async fn validate(&self, handle: &mut R::Handle, within: Duration) -> Result<(), Error<R::Cause>> {
        // A block, so that the call itself is in the first poll: it may panic, too.
        let mut validating = pin!(async { self.resource.validate(handle).await });
        let mut deadline = Deadline::after(within);
        poll_fn(|cx| match catch::call(|| validating.as_mut().poll(cx)) {
            Ok(Poll::Pending) => deadline.poll_missed(Stage::Validating, cx).map(Err),
            Ok(Poll::Ready(outcome)) => Poll::Ready(outcome.map_err(|error| error.at(Stage::Validating))),
            Err(panic) => Poll::Ready(Err(Error::panicked(Stage::Validating, panic.payload()))),
        })
        .await
    }
}

const UNDECIDED: &str = "only what consumes it decides its way";

/// An object that nobody uses, of which nobody knows whether it is sound. Dropped, it ends.
pub(super) struct Doubtful<R: Resource> {
    pool: Arc<Inner<R>>,
    slot: u32,
    /// `None` once its way is decided.
    handle: Option<R::Handle>,
    exit: Exit,
    /// Whether somebody has had it since it was idle.
    used: bool,
}

impl<R: Resource> Doubtful<R> {
    pub(super) fn new(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle) -> Self {
        Doubtful { pool, slot, handle: Some(handle), exit: Exit::of_drop(), used: true }
    }

    /// One that was idle.
    pub(super) fn idle(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle) -> Self {
        let mut idle = Doubtful::new(pool, slot, handle);
        idle.used = false;
        idle
    }

    /// The object, for whoever proves it himself.
    pub(super) fn handle(&mut self) -> &mut R::Handle {
        self.handle.as_mut().expect(UNDECIDED)
    }

    /// Its way is the caller's.
    pub(super) fn into_handle(mut self) -> R::Handle {
        self.handle.take().expect(UNDECIDED)
    }

    /// Proves it: at once, if that needs no waiting, else in the background. Without a runtime it ends.
    pub(super) fn hand_over(self) {
        let exit = self.exit;
        let home = self.pool.state.lock().slots.stub(self.slot).and_then(|stub| stub.account.runtime().cloned());
        let mut proof = Box::pin(self.prove(exit));
        // Nothing of the user's is polled while unwinding, nor where it could not find its runtime.
        let here = Runtime::try_current().is_ok() && !std::thread::panicking();
        // The task polls it again before anything else: no wake-up is lost.
        if here && proof.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        reaper::spawn(home, proof);
    }

    /// Puts it back if it proves sound.
    pub(super) async fn prove(mut self, exit: Exit) {
        self.exit = exit;
        let began = self.pool.clock.now();
        let Some(handle) = &mut self.handle else { return };
        let sound = probe_or_dead(&*self.pool.resource, handle) != Health::Dead
            && self.pool.validate(handle, self.pool.config.validate_timeout).await.is_ok();
        match self.handle.take_if(|_| sound) {
            Some(handle) if self.used => self.pool.put(self.slot, handle),
            Some(handle) => self.pool.put_proved(self.slot, handle),
            None if self.used => {}
            None => {
                let pool = Arc::clone(&self.pool);
                drop(self);
                // What has shown since that it is alive is left alone, or a few dead ones would be enough to keep all
                // the others from their users.
                pool.suspect(|stub| stub.alive_at() < began);
            }
        }
    }
}

impl<R: Resource> Inner<R> {
    /// Has such of the idle ones proved, all side by side.
    pub(super) fn suspect(self: &Arc<Self>, which: impl FnMut(&Stub<R>) -> bool) {
        let suspects = self.state.lock().slots.take_some(usize::MAX, Note::own(), which);
        for (slot, handle) in suspects {
            Doubtful::idle(Arc::clone(self), slot, handle).hand_over();
        }
    }
}

impl<R: Resource> Drop for Doubtful<R> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.pool.discard(self.slot, handle, self.exit);
        }
    }
}
