//! What stands behind [`crate::rt::sync`] while models run.

use loom::sync::MutexGuard;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The checker's lock, with the signature of the one that it stands in for.
#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model that panics has failed already")
    }
}

/// The checker's threads share one thread of the system, so a real thread-local would be common to them all.
macro_rules! per_thread {
    (static $name:ident: $type:ty = const $value:block;) => {
        loom::thread_local! { static $name: $type = $value }
    };
}

pub(crate) use per_thread as thread_local;
