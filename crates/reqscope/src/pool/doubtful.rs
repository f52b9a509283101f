use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::inner::Inner;
use crate::lease::look;
use crate::resource::{Health, Resource};
use crate::runtime::Runtime;
use crate::time::Deadline;
use crate::{Error, Exit, Stage, foreign, reaper};

impl<R: Resource> Inner<R> {
    /// [`Resource::validate`] within a time, with panics turned into errors.
    pub(super) async fn validate(&self, handle: &mut R::Handle, within: Duration) -> Result<(), Error<R::Cause>> {
        let mut validating = pin!(self.resource.validate(handle));
        let mut deadline = Deadline::after(within);
        poll_fn(|cx| match foreign::call(|| validating.as_mut().poll(cx)) {
            Ok(Poll::Pending) => deadline.poll_missed(Stage::Validating, cx).map(Err),
            Ok(Poll::Ready(outcome)) => Poll::Ready(outcome.map_err(|error| error.at(Stage::Validating))),
            Err(panic) => Poll::Ready(Err(Error::panicked(Stage::Validating, panic.payload()))),
        })
        .await
    }
}

/// An object that nobody uses, of which nobody knows whether it is sound. Dropped, it ends.
pub(super) struct Doubtful<R: Resource> {
    pool: Arc<Inner<R>>,
    slot: u32,
    /// `None` once its way is decided.
    handle: Option<R::Handle>,
    exit: Exit,
}

impl<R: Resource> Doubtful<R> {
    pub(super) fn new(pool: Arc<Inner<R>>, slot: u32, handle: R::Handle) -> Self {
        Doubtful { pool, slot, handle: Some(handle), exit: Exit::of_drop() }
    }

    /// Proves it: at once, if that needs no waiting, else in the background. Without a runtime it ends.
    pub(super) fn hand_over(self) {
        let exit = self.exit;
        let home = self.pool.state.lock().slots.stub(self.slot).and_then(|stub| stub.account.home().cloned());
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
        let Some(handle) = &mut self.handle else { return };
        if look(&*self.pool.resource, handle) == Health::Dead {
            return;
        }
        if self.pool.validate(handle, self.pool.config.validate_timeout).await.is_ok() {
            if let Some(handle) = self.handle.take() {
                self.pool.put(self.slot, handle);
            }
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
