//! Resources made from a closure or around another resource: a timeout, a retry, a tag, a box.

/// Forwards all methods but the verbs to the field `inner`. A wrapper that left one out would still compile, because all
/// of them have defaults.
macro_rules! forward_other_methods {
    () => {
        fn try_acquire(&self) -> Option<Self::Handle> {
            self.inner.try_acquire()
        }

        fn probe(&self, handle: &Self::Handle) -> $crate::Health {
            self.inner.probe(handle)
        }

        fn reclaim(&self, handle: Self::Handle, exit: $crate::Exit) -> Result<(), Self::Handle> {
            self.inner.reclaim(handle, exit)
        }

        fn settles(&self, exit: $crate::Exit) -> bool {
            self.inner.settles(exit)
        }

        fn ends_with_request(&self) -> bool {
            self.inner.ends_with_request()
        }

        fn reset(&self) -> $crate::Reset {
            self.inner.reset()
        }

        fn fault(&self, handle: &Self::Handle) -> Option<$crate::Error<Self::Cause>> {
            self.inner.fault(handle)
        }

        fn identity(&self) -> Option<$crate::Identity> {
            self.inner.identity()
        }
    };
}

mod function;
mod timeout;
mod retry;
mod tagged;
mod boxed;

pub use boxed::BoxResource;
pub use function::{DropHandle, ResourceFn, resource_fn};
pub use retry::{Retry, RetryPolicy};
pub use tagged::Tagged;
pub use timeout::Timeout;
