//! The one door to locks, atomics and thread-locals, so that a model checker can stand behind it.

#[cfg(not(all(test, reqscope_loom)))]
pub(crate) use {
    parking_lot::Mutex,
    std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    std::thread_local,
};

#[cfg(all(test, reqscope_loom))]
pub(crate) use crate::loom::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, thread_local};
