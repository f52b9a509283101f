//! Calls into code that is not ours, where a panic must not pass.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls the code of a user, and hands back its panic.
///
/// What the panic may have left half-done is never looked at again, except to be dropped.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(code))
}

/// Drops a value of a user inside one of our own `Drop`s, which must not panic (law L15): during unwinding that
/// would abort the process. The panic hook has reported the panic by the time it is caught here.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(panic) = call(|| drop(value)) {
        // A payload may panic in its turn; nobody needs it.
        std::mem::forget(panic);
    }
}
