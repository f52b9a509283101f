use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use reqscope::{Exit, Lease, Resource, Scopes};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::support::{all_closed, count, endless, insert, rows, with_table, writing};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls a future to its end without a runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn connection_needs_no_tokio_runtime() {
    let sqlite = with_table().build_temporary().unwrap();
    let mut conn = block_on(sqlite.acquire()).unwrap();
    block_on(insert(&mut conn, 1)).unwrap();
    block_on(sqlite.validate(&mut conn)).unwrap();
    assert_eq!(block_on(count(&mut conn)), 1);
    block_on(sqlite.release(conn, Exit::Completed)).unwrap();
}

#[test]
fn handles_dropped_outside_a_runtime_are_rolled_back_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outside.db");
    let sqlite = Arc::new(with_table().build(&path));
    let tx = writing(&sqlite);
    let runtime = runtime();
    let scope = Scopes::new().open();
    let (bare, open) = runtime.block_on(async {
        insert(&mut scope.lazy(&tx).get().await.unwrap(), 1).await.unwrap();
        drop(scope);
        let mut open = Lease::acquire(&tx).await.unwrap();
        insert(&mut open, 1).await.unwrap();
        (Lease::acquire(&sqlite).await.unwrap(), open)
    });
    drop(runtime);
    drop(open);
    drop(bare);
    let runtime = self::runtime();
    assert_eq!(runtime.block_on(rows(&sqlite)), 0);
    // The turn of the writer is free, too.
    runtime.block_on(async { Lease::complete(Lease::acquire(&tx).await.unwrap()).await.unwrap() });
    drop((tx, sqlite));
    runtime.block_on(all_closed(&path));
}

#[test]
fn runtime_shutdown_during_a_statement_leaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shutdown.db");
    let sqlite = Arc::new(with_table().build(&path));
    let tx = writing(&sqlite);
    for workers in [0, 2] {
        let runtime = match workers {
            0 => runtime(),
            workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap(),
        };
        let scopes = Scopes::new();
        runtime.block_on(async {
            let (begun, has_begun) = oneshot::channel();
            let (tx, scopes) = (Arc::clone(&tx), scopes.clone());
            tokio::spawn(async move {
                let scope = scopes.open();
                let mut open = scope.lazy(&tx).get().await.unwrap();
                insert(&mut open, 1).await.unwrap();
                open.call(endless(begun)).await
            });
            has_begun.await.unwrap();
        });
        drop(runtime);
        assert_eq!(scopes.stats().live, 0, "{:?}", scopes.stats());

        let runtime = self::runtime();
        assert_eq!(runtime.block_on(rows(&sqlite)), 0);
        runtime.block_on(async { Lease::complete(Lease::acquire(&tx).await.unwrap()).await.unwrap() });
    }
    drop((tx, sqlite));
    runtime().block_on(all_closed(&path));
}

#[test]
fn connection_moves_between_runtimes() {
    let sqlite = Arc::new(with_table().build_temporary().unwrap());
    let mut conn = runtime().block_on(Lease::acquire(&sqlite)).unwrap();
    for _ in 0..3 {
        runtime().block_on(insert(&mut conn, 1)).unwrap();
    }
    runtime().block_on(Lease::complete(conn)).unwrap();
    assert_eq!(runtime().block_on(rows(&sqlite)), 3);
}

#[test]
fn handles_and_futures_are_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    fn sync<T: Sync>(value: T) -> T {
        value
    }
    let sqlite = Arc::new(sync(send(with_table().build_temporary().unwrap())));
    let tx = sync(writing(&sqlite));
    drop(send(sqlite.acquire()));
    drop(send(tx.acquire()));
    runtime().block_on(async {
        let mut open = send(tx.acquire().await.unwrap());
        drop(send(open.call(|_| Ok(()))));
        drop(send(tx.validate(&mut open)));
        send(tx.release(open, Exit::Completed)).await.unwrap();
    });
}
