//! The replacement for [`crate::rt::sync`] in models.

use loom::sync::MutexGuard;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Loom's mutex, with the interface of parking_lot's.
#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect("a model that panicked has failed already")
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model that panicked has failed already")
    }
}

/// Loom's threads share one thread of the system, so a real thread-local would be shared by all of them.
macro_rules! per_thread {
    (static $name:ident: $type:ty = const $value:block;) => {
        loom::thread_local! { static $name: $type = $value }
    };
}

pub(crate) use per_thread as thread_local;
