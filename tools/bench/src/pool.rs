//! What a pool costs by itself, with everything that it does by default: its statistics, its bounds on ages, uses and
//! waits, and the probe of each handle at check-out and return.

use std::hint::black_box;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Pool, Scopes};

use crate::poll::now;
use crate::ready::{IN_A_POOL, Ready};

fn pool(size: usize) -> Pool<Ready<IN_A_POOL>> {
    Pool::builder().max_size(size).acquire_timeout(Duration::from_secs(5)).build(Ready)
}

/// Returns a pool whose only handle is idle.
fn filled() -> Pool<Ready<IN_A_POOL>> {
    let pool = pool(1);
    pool.put(now(pool.get()).expect("it is ready"));
    pool
}

/// Get, return.
pub(crate) fn get(times: usize) {
    let pool = filled();
    for _ in 0..times {
        let handle = now(black_box(&pool).get()).expect("it is idle");
        black_box(*handle);
        pool.put(handle);
    }
}

/// A scope over the pool: open, first get, return the guard, close.
pub(crate) fn first(times: usize) {
    let (scopes, pool) = (Scopes::new(), Arc::new(filled()));
    for _ in 0..times {
        let scope = scopes.open();
        let lazy = scope.lazy(&pool);
        drop(black_box(now(lazy.get()).expect("it is idle")));
        now(scope.close(Exit::Completed)).expect("nothing settles");
    }
}

/// Get and return the guard, in a scope that holds a handle of the pool.
pub(crate) fn later(times: usize) {
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&Arc::new(filled()));
    drop(now(lazy.get()).expect("it is idle"));
    for _ in 0..times {
        drop(black_box(now(lazy.get()).expect("it is idle in the cell")));
    }
}

/// Leaks a pool with so many idle handles, so that valgrind finds their memory.
pub(crate) fn leave(handles: usize) {
    let pool = pool(handles);
    let taken: Vec<_> = (0..handles).map(|_| now(pool.get()).expect("it is ready")).collect();
    for handle in taken {
        pool.put(handle);
    }
    assert_eq!(pool.status().idle, handles, "all are idle");
    mem::forget(pool);
}
