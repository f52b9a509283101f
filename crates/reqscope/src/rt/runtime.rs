//! The only access to tokio's runtime and timers, which the model checker loom replaces by models of its own.

#[cfg(not(all(test, reqscope_loom)))]
pub(crate) use tokio::{
    runtime::{Handle as Runtime, Id as RuntimeId},
    task::AbortHandle,
    time::{Sleep, sleep_until},
};

#[cfg(all(test, reqscope_loom))]
pub(crate) use crate::loom::runtime::{AbortHandle, Runtime, RuntimeId, Sleep, TIME_PASSES, sleep_until};

// Loom's threads have no budget, for which tokio's own functions count as outside of a runtime.
pub(crate) use tokio::task::coop;

/// Whether waiting for time to pass has any effect; under loom it has none.
#[cfg(not(all(test, reqscope_loom)))]
pub(crate) const TIME_PASSES: bool = true;
