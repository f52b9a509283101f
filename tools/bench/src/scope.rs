//! What a scope costs by itself.

use std::hint::black_box;
use std::sync::Arc;

use reqscope::{Exit, Scopes};

use crate::poll::now;
use crate::ready::{ALONE, AMONG_MANY, Plain, Ready};

/// Open and drop.
pub(crate) fn unused(times: usize) {
    let scopes = Scopes::new();
    for _ in 0..times {
        drop(black_box(scopes.open()));
    }
}

/// Open, first get, return the guard, close.
pub(crate) fn first(times: usize) {
    let (scopes, ready) = (Scopes::new(), Arc::new(Ready::<ALONE>));
    for _ in 0..times {
        let scope = scopes.open();
        let lazy = scope.lazy(&ready);
        drop(black_box(now(lazy.get()).expect("it is ready")));
        now(scope.close(Exit::Completed)).expect("nothing settles");
    }
}

/// Get and return the guard, in a scope that has its handle.
pub(crate) fn later(times: usize) {
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&Arc::new(Ready::<ALONE>));
    drop(now(lazy.get()).expect("it is ready"));
    for _ in 0..times {
        drop(black_box(now(lazy.get()).expect("it is idle in the cell")));
    }
}

/// First get, later get and release of one of the cells of one scope, which has as many as there are repetitions.
pub(crate) fn one_of_many(times: usize) {
    let scope = Scopes::new().open();
    let all: Vec<_> = (0..times).map(|_| Arc::new(Ready::<AMONG_MANY>)).collect();
    for ready in all.iter().chain(&all) {
        drop(black_box(now(scope.lazy(ready).get()).expect("it is ready, and then idle in the cell")));
    }
    now(scope.close(Exit::Completed)).expect("nothing settles");
}

/// Open, first get, return the guard, close, of a resource without shortcuts, in a task of a runtime.
pub(crate) fn first_plain(times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it needs no I/O");
    runtime.block_on(async {
        let (scopes, plain) = (Scopes::new(), Arc::new(Plain));
        for _ in 0..times {
            let scope = scopes.open();
            let lazy = scope.lazy(&plain);
            drop(black_box(lazy.get().await.expect("it is ready")));
            scope.close(Exit::Completed).await.expect("nothing settles");
        }
    });
}
