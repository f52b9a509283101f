//! How long and how often the suite tries.

use std::time::Duration;

/// How long something may take that has to happen at all.
pub(super) const BOUND: Duration = Duration::from_secs(5);

/// How often the same fault is repeated on one resource: more often than a pool of the usual size has slots, so that a
/// slot lost each time stops the next acquire.
pub(super) const ROUNDS: usize = 12;

/// The last poll at which the suite cancels: a future that is polled again and again without end has shown enough.
pub(super) const MOST_POLLS: usize = 64;
