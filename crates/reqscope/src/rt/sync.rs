//! The only access to locks, atomics and thread-locals, which the model checker loom replaces by its own.

#[cfg(not(all(test, reqscope_loom)))]
pub(crate) use {
    parking_lot::{Mutex, MutexGuard},
    std::sync::OnceLock,
    std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    std::thread_local,
};

#[cfg(all(test, reqscope_loom))]
pub(crate) use crate::loom::sync::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Mutex, MutexGuard, OnceLock, Ordering, thread_local,
};
