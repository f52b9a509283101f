//! Calls into code that is not ours, where a panic must not pass.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// What somebody else's code panicked with. The panic hook has reported it by the time it is caught.
pub(crate) struct Panic(Option<Box<dyn Any + Send>>);

impl Panic {
    pub(crate) fn payload(&self) -> &(dyn Any + Send) {
        self.0.as_deref().unwrap_or(&())
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        // A payload is somebody else's, too, and may panic when it is dropped.
        drop_quietly(self.0.take());
    }
}

/// Calls the code of a user, and hands back its panic.
///
/// What the panic may have left half-done is never looked at again, except to be dropped.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Panic(Some(payload)))
}

/// Drops a value of a user inside one of our own `Drop`s, which must not panic (law L15): during unwinding that
/// would abort the process.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Nobody needs it, and dropping it might begin all over again.
        std::mem::forget(payload);
    }
}

/// Wakes them all: one that panics keeps the others neither asleep nor from what comes after.
#[inline]
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    if !wakers.is_empty() {
        wakers.into_iter().for_each(wake);
    }
}

#[cold]
pub(crate) fn wake(waker: Waker) {
    drop_quietly(call(|| waker.wake()));
}
