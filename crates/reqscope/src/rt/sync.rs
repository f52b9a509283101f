//! The only access to locks, atomics and thread-locals, which the model checker loom replaces by its own.

use std::ops::Deref;

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

/// A value in cache lines of its own, so that threads that write to it do not slow others down that read what is next to
/// it.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct CacheAligned<T>(pub(crate) T);

impl<T> Deref for CacheAligned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
