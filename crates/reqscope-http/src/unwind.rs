/// Drops a scope or a lease if the poll of what works in it panics, while it unwinds: whoever catches the panic outside
/// drops the rest later, and that would look like a cancellation, or even like a good end. Forget it after the poll.
pub(crate) struct OnUnwind<'a, T>(pub(crate) &'a mut Option<T>);

impl<T> Drop for OnUnwind<'_, T> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
