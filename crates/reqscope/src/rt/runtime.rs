//! The one door to tokio's runtime and its timers, so that a model checker can stand behind it.

#[cfg(not(all(test, reqscope_loom)))]
pub(crate) use tokio::{
    runtime::Handle as Runtime,
    task::AbortHandle,
    time::{Sleep, sleep_until},
};

#[cfg(all(test, reqscope_loom))]
pub(crate) use crate::loom::runtime::{AbortHandle, Runtime, Sleep, TIME_PASSES, sleep_until};

/// Whether work that waits for the time to pass is of any use.
#[cfg(not(all(test, reqscope_loom)))]
pub(crate) const TIME_PASSES: bool = true;
