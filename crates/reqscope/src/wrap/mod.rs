//! Resources around a resource. One file each, all of one shape; none knows another.

mod retry;
mod shared;
mod timeout;

pub use retry::{Retry, RetryPolicy};
pub use shared::{Shared, SharedGet, SharedHandle};
pub use timeout::Timeout;
