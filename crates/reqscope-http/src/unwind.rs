//! User code that panics.

use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Drops a scope or a lease while the panic of a handler or a body unwinds. `mem::forget` it after a poll that
/// returned.
///
/// A caller that catches the panic drops the rest only later, when nothing unwinds any more. The scope or lease would
/// then end as cancelled, or even as completed.
pub(crate) struct DropOnUnwind<'a, T>(pub(crate) &'a mut Option<T>);

impl<T> Drop for DropOnUnwind<'_, T> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// A user's future, which is dropped without a panic. In a list each needs this for itself: of two panics in the drop of
/// the list, the second would abort the process.
pub(crate) struct QuietFuture(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl QuietFuture {
    pub(crate) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        QuietFuture(Some(Box::pin(future)))
    }
}

impl Future for QuietFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Ready(()), |future| future.as_mut().poll(cx))
    }
}

impl Drop for QuietFuture {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

/// Drops a user's value, whose panic must not decide how something else ends.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Dropping the payload might panic again.
        mem::forget(payload);
    }
}
