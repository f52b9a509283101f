//! User code that panics.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// Drops a user's value, whose panic must not decide how something else ends.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Dropping the payload might panic again.
        mem::forget(payload);
    }
}
