//! Code that runs when a value is dropped, such as the future that owns it.

/// Calls the function when it is dropped.
pub(crate) struct Defer<F: Fn()>(pub(crate) F);

impl<F: Fn()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
