//! Calls into user code, whose panics must not unwind any further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// A panic of user code. The panic hook has reported it by the time it is caught.
pub(crate) struct Panic(Option<Box<dyn Any + Send>>);

impl Panic {
    pub(crate) fn payload(&self) -> &(dyn Any + Send) {
        self.0.as_deref().unwrap_or(&())
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        // The payload is a user's type, too, and may panic when it is dropped.
        drop_quietly(self.0.take());
    }
}

/// Calls user code, and returns its panic as an error.
///
/// `AssertUnwindSafe`: what the panic may have left half-done is only dropped afterwards.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Panic(Some(payload)))
}

/// Drops a user's value without a panic. For our own `Drop`s, in which a panic during unwinding would abort the process
/// (law L15).
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Forgotten, because dropping the payload might panic again.
        std::mem::forget(payload);
    }
}

/// Wakes all of them. One that panics stops neither the others nor the caller.
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
