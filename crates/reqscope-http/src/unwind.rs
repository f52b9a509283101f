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
