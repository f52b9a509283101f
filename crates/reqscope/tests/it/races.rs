//! The laws on real threads: gets, guards, closes and drains at the same time, and a check of the counters at the end.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Exit, Guard};
use reqscope_testkit::{Outcome, Probe, Verb, poll_once};

use crate::support::Server;

const SCOPES: u64 = 1000;

/// Creates a server whose acquisitions and releases take a few polls, and whose timeouts no machine misses.
fn slow() -> Server {
    let long = Duration::from_secs(600);
    let server = Server::configured(Probe::new().settling(), |builder| {
        builder.acquire_timeout(long).lend_timeout(long).close_timeout(long)
    });
    server.probe.on(Verb::Acquire).always(Outcome::ok().after_polls(2));
    server.probe.on(Verb::Release).always(Outcome::ok().after_polls(1));
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gets_racing_with_the_close_lose_no_handle() {
    let server = slow();
    for round in 0..SCOPES {
        let scope = server.scopes.open();
        let gets: Vec<_> = (0..3)
            .map(|_| {
                let lazy = scope.lazy(&server.probe);
                tokio::spawn(async move {
                    match lazy.get().await {
                        Ok(mut guard) => guard.use_once(),
                        Err(error) => assert!(error.is_closed(), "{error}"),
                    }
                })
            })
            .collect();
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        match round % 3 {
            0 => drop(scope),
            1 => drop(scope.close(Exit::Completed)),
            _ => drop(scope.close(Exit::Completed).await),
        }
        for get in gets {
            get.await.unwrap();
        }
    }
    server.finish().await;
    assert_eq!(server.stats().opened_scopes, SCOPES);
    assert_eq!(server.stats().abandoned, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_racing_for_one_handle_all_get_it() {
    let server = slow();
    for round in 0..SCOPES / 10 {
        let scope = server.scopes.open();
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let lazy = scope.lazy(&server.probe);
                tokio::spawn(async move {
                    for turn in 0..10 {
                        let mut guard = lazy.get().await.unwrap();
                        guard.use_once();
                        if (round + task + turn) % 7 == 0 {
                            drop(Guard::detach(guard));
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        scope.close(Exit::Completed).await.unwrap();
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_racing_with_new_scopes_ends_when_they_do() {
    let server = slow();
    let scopes = server.scopes.clone();
    let probe = Arc::clone(&server.probe);
    let first = scopes.open();
    let mut drain = Box::pin(server.scopes.drain(Duration::from_secs(600)));
    // It counts from its first poll on.
    assert!(poll_once(drain.as_mut()).is_pending());
    let drain = tokio::spawn(drain);
    let worker = tokio::spawn(async move {
        let mut open = vec![first];
        for _ in 0..SCOPES {
            let scope = scopes.open();
            drop(scope.lazy(&probe).get().await.unwrap());
            open.push(scope); // At least one scope is open at any time.
            drop(open.remove(0));
        }
    });
    worker.await.unwrap();
    let report = drain.await.unwrap();
    assert!(report.is_clean());
    assert_eq!(report.released, SCOPES);
    server.assert_balanced();
}
