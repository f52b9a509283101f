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

/// Locks a mutex for which threads contend. A thread that finds it locked looks again after as long as it takes to put a
/// thread to sleep and to wake it up, and sleeps then: each look takes the line of the lock from the cache of its owner.
#[cfg(not(all(test, reqscope_loom)))]
pub(crate) fn lock_contended<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    use std::time::{Duration, Instant};

    const LIKE_A_SLEEP: Duration = Duration::from_micros(10);
    mutex.try_lock().unwrap_or_else(|| {
        let found = Instant::now();
        while found.elapsed() < LIKE_A_SLEEP {
            std::hint::spin_loop();
        }
        mutex.lock()
    })
}

#[cfg(all(test, reqscope_loom))]
pub(crate) fn lock_contended<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

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
