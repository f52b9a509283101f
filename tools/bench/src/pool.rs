//! What a pool costs by itself, with everything that it does by default: its statistics, its bounds on ages, uses and
//! waits, and the probe of each handle at check-out and return.

use std::future::Future;
use std::hint::black_box;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use reqscope::pool::PoolBuilder;
use reqscope::{Exit, Pool, Resource, Scopes};
use tokio::runtime;
use tokio::task::unconstrained;

use crate::poll::now;
use crate::ready::{Bare, IN_A_POOL, IN_FOUR_PLACES, Ready, VALIDATED};

fn builder<R: Resource>(size: usize) -> PoolBuilder<R> {
    Pool::builder().max_size(size).acquire_timeout(Duration::from_secs(5))
}

/// Returns a pool whose only handle is idle.
fn filled<const PART: u8>() -> Pool<Ready<PART>> {
    let pool = builder(1).build(Ready);
    pool.put(now(pool.get()).expect("it is ready"));
    pool
}

/// Get, return.
pub(crate) fn get(times: usize) {
    let pool = filled::<IN_A_POOL>();
    for _ in 0..times {
        let handle = now(black_box(&pool).get()).expect("it is idle");
        black_box(*handle);
        pool.put(handle);
    }
}

/// Get, return, at four places of the program in turn. What has one caller is inlined there, and what has several is
/// called, as in a server, whose handlers each have a `get` of their own.
pub(crate) fn places(times: usize) {
    let pool = filled::<IN_FOUR_PLACES>();
    for time in 0..times {
        match time % 4 {
            0 => place::<0>(&pool),
            1 => place::<1>(&pool),
            2 => place::<2>(&pool),
            _ => place::<3>(&pool),
        }
    }
}

/// Gets and returns. Each place shows its number, so that the compiler does not merge them.
#[inline(never)]
fn place<const NUMBER: u8>(pool: &Pool<Ready<IN_FOUR_PLACES>>) {
    black_box(NUMBER);
    let handle = now(black_box(pool).get()).expect("it is idle");
    black_box(*handle);
    pool.put(handle);
}

/// Get, drop, where the pool does not know whether the handle is sound, and validates it between two uses.
pub(crate) fn dropped(times: usize) {
    in_a_task(async {
        let pool = builder(1).build(Bare);
        for _ in 0..times {
            let handle = black_box(&pool).get().await.expect("it is made or validated");
            black_box(*handle);
            drop(handle);
        }
    });
}

/// Get, return, where each check-out validates the handle, which takes no time.
pub(crate) fn validated(times: usize) {
    in_a_task(async {
        let pool = builder(1).validate_after(Duration::ZERO).build(Ready::<VALIDATED>);
        for _ in 0..times {
            let handle = black_box(&pool).get().await.expect("it is made or validated");
            black_box(*handle);
            pool.put(handle);
        }
    });
}

/// Runs operations on a runtime, which runs what they spawn, and without tokio's budget, whose yields would be counted
/// as the pool's.
fn in_a_task(operations: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("it needs no I/O");
    runtime.block_on(unconstrained(operations));
}

/// A scope over the pool: open, first get, return the guard, close.
pub(crate) fn first(times: usize) {
    let (scopes, pool) = (Scopes::new(), Arc::new(filled::<IN_A_POOL>()));
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
    let lazy = scope.lazy(&Arc::new(filled::<IN_A_POOL>()));
    drop(now(lazy.get()).expect("it is idle"));
    for _ in 0..times {
        drop(black_box(now(lazy.get()).expect("it is idle in the cell")));
    }
}

/// Leaks a pool with so many idle handles, so that valgrind finds their memory.
pub(crate) fn leave(handles: usize) {
    let pool = builder(handles).build(Ready::<IN_A_POOL>);
    let taken: Vec<_> = (0..handles).map(|_| now(pool.get()).expect("it is ready")).collect();
    for handle in taken {
        pool.put(handle);
    }
    assert_eq!(pool.status().idle, handles, "all are idle");
    mem::forget(pool);
}
