//! User code that panics.

use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use reqscope::Scope;

/// Drops a scope while the panic of a handler unwinds. `mem::forget` it after a poll that returned.
///
/// A caller that catches the panic drops the rest only later, when nothing unwinds any more. The scope would then end
/// as cancelled.
pub(crate) struct DropOnUnwind<'a>(pub(crate) &'a mut Option<Scope>);

impl Drop for DropOnUnwind<'_> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// A user's future, which is dropped without a panic. In a list each needs this for itself: of two panics in the drop
/// of the list, the second would abort the process.
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
        drop_quietly(|| self.0 = None);
    }
}

/// Runs the drop of a user's value, whose panic must not decide how something else ends.
pub(crate) fn drop_quietly(drop: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(drop)) {
        // Dropping the payload might panic again.
        mem::forget(payload);
    }
}
