//! Resources made from a closure or around another resource: a timeout, a retry, a tag, a box.

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
