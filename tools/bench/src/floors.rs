//! What the same work costs without reqscope: a value that is made on first use and shared, without exclusive loans and
//! without a release; and a stack of values, which knows neither whether they are sound nor who holds them.

/// [`tokio::sync::OnceCell`] in an `Arc`.
pub(crate) mod once_cell {
    use std::hint::black_box;
    use std::sync::Arc;

    use tokio::sync::OnceCell;

    use crate::poll::now;
    use crate::ready::HANDLE;

    pub(crate) fn unused(times: usize) {
        for _ in 0..times {
            drop(black_box(Arc::new(OnceCell::<u64>::new())));
        }
    }

    pub(crate) fn first(times: usize) {
        for _ in 0..times {
            let cell = Arc::new(OnceCell::new());
            black_box(now(cell.get_or_init(async || HANDLE)));
        }
    }

    pub(crate) fn later(times: usize) {
        let cell = Arc::new(OnceCell::new_with(Some(HANDLE)));
        for _ in 0..times {
            black_box(now(black_box(&cell).get_or_init(async || HANDLE)));
        }
    }
}

/// [`async_once_cell::Lazy`] in an `Arc`.
pub(crate) mod lazy {
    use std::future::{Ready, ready};
    use std::hint::black_box;
    use std::sync::Arc;

    use async_once_cell::Lazy;

    use crate::poll::now;
    use crate::ready::HANDLE;

    fn lazy() -> Arc<Lazy<u64, Ready<u64>>> {
        Arc::new(Lazy::new(ready(HANDLE)))
    }

    pub(crate) fn unused(times: usize) {
        for _ in 0..times {
            drop(black_box(lazy()));
        }
    }

    pub(crate) fn first(times: usize) {
        for _ in 0..times {
            black_box(now(lazy().get_unpin()));
        }
    }

    pub(crate) fn later(times: usize) {
        let lazy = lazy();
        now(lazy.get_unpin());
        for _ in 0..times {
            black_box(now(black_box(&lazy).get_unpin()));
        }
    }
}

/// A [`tokio::sync::Semaphore`] in front of a stack under a lock: the smallest pool in which callers can wait. As with
/// every pool, what it lends borrows nothing, so that it can be held anywhere. `cargo xtask compare` has the same one.
pub(crate) mod semaphore {
    use std::hint::black_box;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::sync::{OwnedSemaphorePermit, Semaphore};

    use crate::poll::now;
    use crate::ready::HANDLE;

    struct Pool {
        permits: Arc<Semaphore>,
        stack: Arc<Mutex<Vec<u64>>>,
    }

    struct Lent {
        /// `None` only during the drop.
        handle: Option<u64>,
        stack: Arc<Mutex<Vec<u64>>>,
        /// Dropped last, when the handle is back on the stack.
        _permit: OwnedSemaphorePermit,
    }

    impl Pool {
        async fn get(&self) -> Lent {
            let permit = Arc::clone(&self.permits).acquire_owned().await.expect("it is never closed");
            let handle = self.stack.lock().pop();
            Lent { handle, stack: Arc::clone(&self.stack), _permit: permit }
        }
    }

    impl Drop for Lent {
        fn drop(&mut self) {
            self.stack.lock().extend(self.handle.take());
        }
    }

    pub(crate) fn get(times: usize) {
        let pool = Pool { permits: Arc::new(Semaphore::new(1)), stack: Arc::new(Mutex::new(vec![HANDLE])) };
        for _ in 0..times {
            let lent = now(black_box(&pool).get());
            black_box(lent.handle);
            drop(lent);
        }
    }
}

/// A stack under a lock, where callers cannot wait.
pub(crate) mod stack {
    use std::hint::black_box;

    use parking_lot::Mutex;

    use crate::ready::HANDLE;

    pub(crate) fn get(times: usize) {
        let stack = Mutex::new(vec![HANDLE]);
        for _ in 0..times {
            let handle = black_box(&stack).lock().pop();
            black_box(&stack).lock().extend(black_box(handle));
        }
    }
}
