//! A close whose future is dropped, at every poll in turn, still runs to its end (L9, L10).

use std::sync::Arc;

use reqscope::{Exit, Lease};
use reqscope_testkit::{Outcome, Probe, Verb, cancel_at};

use crate::support::{Event, Server, get_now, runtime, settle};

/// Closes a scope with two settling handles and another one as completed, and drops the future after so many polls.
/// Each release takes three polls. Returns whether the future ended before it was dropped.
async fn cut_at(polls: usize, outcome: fn() -> Outcome) -> (Server, bool) {
    let server = Server::new();
    let scope = server.scopes.open();
    for settles in [false, true, true] {
        let resource = server.probe.sibling();
        resource.on(Verb::Release).next(outcome().after_polls(3));
        let resource = Arc::new(if settles { resource.settling() } else { resource });
        drop(get_now(&scope.lazy(&resource)));
    }
    let finished = cancel_at(polls, scope.close(Exit::Completed)).await.is_some();
    server.finish().await;
    (server, finished)
}

#[tokio::test(start_paused = true)]
async fn close_cut_at_any_poll_keeps_exits_and_order() {
    for polls in 0.. {
        let (server, finished) = cut_at(polls, Outcome::ok).await;
        assert_eq!(server.exits(), [Exit::Completed; 3], "cut at poll {polls}");
        assert_eq!(server.order(), [2, 1, 0], "cut at poll {polls}");
        assert_eq!((server.stats().released, server.stats().release_failed), (3, 0), "cut at poll {polls}");
        if finished {
            assert_eq!(polls, 7, "three polls of each settling release, and one for the result");
            break;
        }
    }
}

/// Creates one resource that does not settle and two that do, whose releases wait for their gates.
fn gated(server: &Server) -> [Arc<Probe>; 3] {
    [false, true, true].map(|settles| {
        let sibling = server.probe.sibling();
        sibling.on(Verb::Release).close();
        Arc::new(if settles { sibling.settling() } else { sibling })
    })
}

#[tokio::test(start_paused = true)]
async fn close_cut_at_any_poll_still_settles_one_after_another() {
    // With closed gates, a second poll would be that of the deadline.
    for polls in 0..2 {
        let server = Server::new();
        let all = gated(&server);
        let scope = server.scopes.open();
        all.iter().for_each(|resource| drop(get_now(&scope.lazy(resource))));
        assert!(cancel_at(polls, scope.close(Exit::Completed)).await.is_none());
        for begun in [vec![2], vec![2, 1], vec![2, 1, 0]] {
            settle().await;
            assert_eq!(server.order(), begun, "cut at poll {polls}");
            all[3 - begun.len()].on(Verb::Release).ok();
        }
        server.finish().await;
        assert_eq!(server.exits(), [Exit::Completed; 3]);
    }
}

#[test]
fn close_cut_outside_a_runtime_settles_one_after_another() {
    let (runtime, server) = (runtime(), Server::new());
    let all = gated(&server);
    let scope = server.scopes.open();
    runtime.block_on(async { all.iter().for_each(|resource| drop(get_now(&scope.lazy(resource)))) });
    drop(scope.close(Exit::Completed));
    for begun in [vec![2], vec![2, 1], vec![2, 1, 0]] {
        runtime.block_on(settle());
        assert_eq!(server.order(), begun);
        all[3 - begun.len()].on(Verb::Release).ok();
    }
    runtime.block_on(server.finish());
    assert_eq!(server.exits(), [Exit::Completed; 3]);
}

#[tokio::test(start_paused = true)]
async fn close_cut_at_any_poll_reports_failures_to_the_observer() {
    for outcome in [Outcome::error, Outcome::panic] {
        for polls in 0.. {
            let (server, finished) = cut_at(polls, outcome).await;
            assert_eq!(server.exits(), [Exit::Completed; 3], "cut at poll {polls}");
            let reported = server.events.count(Event::ReleaseFailed(Exit::Completed));
            assert_eq!((reported, server.stats().release_failed), (3, 3), "cut at poll {polls}");
            if finished {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_cut_at_any_poll_keeps_its_deadline() {
    for polls in 0..3 {
        let (server, _cut) = cut_at(polls, Outcome::never).await;
        assert_eq!(server.stats().abandoned, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn lease_release_cut_at_any_poll_keeps_its_exit() {
    for exit in [Exit::Completed, Exit::Failed] {
        for polls in 0.. {
            let server = Server::with(Probe::new());
            server.probe.on(Verb::Release).slow(3);
            let lease = Lease::acquire_in(server.scopes.reaper(), &server.probe).await.unwrap();
            let finished = cancel_at(polls, Lease::end(lease, exit)).await.is_some();
            server.finish().await;
            assert_eq!(server.exits(), [exit], "cut at poll {polls}");
            if finished {
                assert_eq!(polls, 4);
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_never_polled_reports_a_failure_to_the_observer() {
    let server = Server::with(Probe::new().settling());
    server.probe.on(Verb::Release).error();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    drop(scope.close(Exit::Completed));
    server.finish().await;
    assert_eq!(server.events.count(Event::ReleaseFailed(Exit::Completed)), 1);
}
