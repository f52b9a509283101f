//! What a pool costs by itself, with all that it does by default: its statistics, its bounds on ages, uses and waits,
//! the look at each object on both ways.

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

/// A pool whose only object is idle.
fn filled() -> Pool<Ready<IN_A_POOL>> {
    let pool = pool(1);
    pool.put(now(pool.get()).expect("it is ready"));
    pool
}

/// Get, give back.
pub(crate) fn get(times: usize) {
    let pool = filled();
    for _ in 0..times {
        let object = now(black_box(&pool).get()).expect("it is idle");
        black_box(*object);
        pool.put(object);
    }
}

/// What a request does with a scope over the pool: open, first get, guard back, close.
pub(crate) fn first(times: usize) {
    let (scopes, pool) = (Scopes::new(), Arc::new(filled()));
    for _ in 0..times {
        let scope = scopes.open();
        let lazy = scope.lazy(&pool);
        drop(black_box(now(lazy.get()).expect("it is idle")));
        now(scope.close(Exit::Completed)).expect("nothing settles");
    }
}

/// Get and guard back, in a scope that has an object of the pool.
pub(crate) fn later(times: usize) {
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&Arc::new(filled()));
    drop(now(lazy.get()).expect("it is idle"));
    for _ in 0..times {
        drop(black_box(now(lazy.get()).expect("it is at home")));
    }
}

/// Leaves a pool behind in which so many objects are idle, so that whoever counts from outside finds their memory.
pub(crate) fn leave(objects: usize) {
    let pool = pool(objects);
    let taken: Vec<_> = (0..objects).map(|_| now(pool.get()).expect("it is ready")).collect();
    for object in taken {
        pool.put(object);
    }
    assert_eq!(pool.status().idle, objects, "all are there");
    mem::forget(pool);
}
