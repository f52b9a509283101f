//! Resources around a resource. One file each, all of one shape; none knows another.

mod function;
mod timeout;
mod retry;
mod boxed;

pub use boxed::BoxResource;
pub use function::{DropHandle, ResourceFn, resource_fn};
pub use retry::{Retry, RetryPolicy};
pub use timeout::Timeout;
