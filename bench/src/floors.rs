//! What the same costs without reqscope: a value made on first use and shared, which nobody borrows exclusively, gives
//! back, or hears the end of.

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
