//! L15 quiet drop: outside any runtime, on another one, during a shutdown, after `block_on`, while unwinding.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use reqscope::observer::Abandoned;
use reqscope::{Error, Exit, Guard, Lease, Reaper, Scope, resource_fn};
use reqscope_testkit::{Outcome, Probe, Verb, expect_panic, poll_n, poll_once, quiet_panic};
use tokio::runtime::{Builder, Runtime};

use crate::hooked::{At, Hooked};
use crate::support::{Event, Server, get_now, runtime, settle};

/// Makes a value that can be dropped and holds a handle whose release has to wait.
type Make = Box<dyn FnOnce(&Server) -> Box<dyn Send>>;

/// Returns every kind of such a value, with its name and the exit that its drop passes to the release.
fn every_kind() -> Vec<(&'static str, Exit, Make)> {
    let scope = |server: &Server| -> Scope {
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        scope
    };
    let lease = |server: &Server| Guard::detach(get_now(&server.scopes.open().lazy(&server.probe)));
    vec![
        ("a scope", Exit::Cancelled, Box::new(move |server| Box::new(scope(server)))),
        (
            "a scope and one of its cells",
            Exit::Cancelled,
            Box::new(move |server| {
                let scope = scope(server);
                let lazy = scope.lazy(&server.probe);
                Box::new((scope, lazy))
            }),
        ),
        (
            "a guard whose scope is closed",
            Exit::Cancelled,
            Box::new(|server| Box::new(get_now(&server.scopes.open().lazy(&server.probe)))),
        ),
        ("a lease", Exit::Cancelled, Box::new(move |server| Box::new(lease(server)))),
        ("a close", Exit::Completed, Box::new(move |server| Box::new(scope(server).close(Exit::Completed)))),
        (
            "a close under way",
            Exit::Completed,
            Box::new(move |server| {
                let mut close = Box::pin(scope(server).close(Exit::Completed));
                assert!(poll_once(close.as_mut()).is_pending());
                Box::new(close)
            }),
        ),
        ("a release", Exit::Completed, Box::new(move |server| Box::new(Lease::complete(lease(server))))),
        (
            "a release under way",
            Exit::Failed,
            Box::new(move |server| {
                let mut release = Box::pin(Lease::fail(lease(server)));
                assert!(poll_once(release.as_mut()).is_pending());
                Box::new(release)
            }),
        ),
    ]
}

/// Makes a value of every kind on this runtime, each with a server of its own and a release that takes two polls.
fn made_on(runtime: &Runtime) -> Vec<(&'static str, Exit, Server, Box<dyn Send>)> {
    made_with(runtime, Outcome::ok().after_polls(2))
}

fn made_with(runtime: &Runtime, outcome: Outcome) -> Vec<(&'static str, Exit, Server, Box<dyn Send>)> {
    every_kind()
        .into_iter()
        .map(|(name, exit, make)| {
            let server = Server::with(Probe::new().settling());
            server.probe.on(Verb::Release).next(outcome.clone());
            let value = runtime.block_on(async { make(&server) });
            (name, exit, server, value)
        })
        .collect()
}

#[test]
fn drop_outside_a_runtime_releases_on_the_acquiring_one() {
    let home = runtime();
    for (name, exit, server, value) in made_on(&home) {
        drop(value);
        assert_eq!(server.stats().live, 1, "{name}: no task runs while the runtime is not driven");
        home.block_on(server.finish());
        assert_eq!((server.exits(), server.stats().released), (vec![exit], 1), "{name}");
    }
}

#[test]
fn drop_on_another_runtime_releases_there() {
    let (home, other) = (runtime(), runtime());
    for (name, exit, server, value) in made_on(&home) {
        other.block_on(async {
            drop(value);
            server.finish().await;
        });
        assert_eq!((server.exits(), server.stats().released), (vec![exit], 1), "{name}");
    }
}

/// The fault: the release was abandoned, because it needs a deadline.
#[test]
fn drop_without_timers_releases_on_the_acquiring_runtime() {
    let (home, timerless) = (runtime(), Builder::new_current_thread().build().unwrap());
    for (name, exit, server, value) in made_on(&home) {
        timerless.block_on(async {
            drop(value);
            settle().await;
        });
        home.block_on(server.finish());
        assert_eq!((server.exits(), server.stats().released), (vec![exit], 1), "{name}");
    }
}

#[test]
fn drop_on_another_runtime_releases_after_its_own_ended() {
    for (index, (name, exit, _)) in every_kind().into_iter().enumerate() {
        let home = runtime();
        let (_, _, server, value) = made_on(&home).into_iter().nth(index).unwrap();
        drop(home);
        runtime().block_on(async {
            drop(value);
            server.finish().await;
        });
        assert_eq!(server.exits(), [exit], "{name}");
        assert_eq!(server.stats().released, 1, "{name}");
    }
}

#[test]
fn drop_by_an_ending_runtime_releases_on_the_acquiring_one() {
    let home = runtime();
    for (name, exit, server, value) in made_on(&home) {
        let other = runtime();
        drop(other.spawn(async move {
            let _value = value;
            std::future::pending::<()>().await;
        }));
        other.block_on(settle());
        drop(other);
        home.block_on(server.finish());
        assert_eq!((server.exits(), server.stats().released), (vec![exit], 1), "{name}");
    }
}

#[test]
fn drop_after_the_runtime_ended_abandons_the_handle() {
    for (index, (name, exit, _)) in every_kind().into_iter().enumerate() {
        let home = runtime();
        let (_, _, server, value) = made_on(&home).into_iter().nth(index).unwrap();
        drop(home);
        drop(value);
        server.assert_balanced();
        assert_eq!((server.stats().live, server.stats().abandoned), (0, 1), "{name}");
        assert_eq!(server.events.count(Event::Abandoned(exit, Abandoned::NoRuntime)), 1, "{name}");
        assert_eq!(server.probe.counts().abandoned, 1, "{name}");
    }
}

#[test]
fn drop_without_any_runtime_abandons_the_handle() {
    for (name, exit, make) in every_kind().into_iter().filter(|(name, ..)| !name.contains("under way")) {
        let server = Server::with(Probe::new().settling());
        drop(make(&server));
        server.assert_balanced();
        assert_eq!((server.stats().live, server.stats().abandoned), (0, 1), "{name}");
        assert_eq!(server.events.count(Event::Abandoned(exit, Abandoned::NoRuntime)), 1, "{name}");
    }
}

#[test]
fn drop_in_a_task_of_an_ending_runtime_is_counted() {
    for workers in [0, 2] {
        for (name, _, make) in every_kind() {
            let mut builder = if workers == 0 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
            let runtime = builder.enable_time().build().unwrap();
            let server = Server::with(Probe::new().settling());
            server.probe.on(Verb::Release).never();
            let value = runtime.block_on(async { make(&server) });
            drop(runtime.spawn(async move {
                let _value = value;
                std::future::pending::<()>().await;
            }));
            runtime.block_on(settle());
            drop(runtime);
            server.assert_balanced();
            assert_eq!((server.stats().live, server.stats().abandoned), (0, 1), "{name}, {workers} workers");
        }
    }
}

#[test]
fn background_release_lost_with_its_runtime_is_abandoned() {
    for (index, (name, exit, _)) in every_kind().into_iter().enumerate() {
        let home = runtime();
        let (_, _, server, value) = made_with(&home, Outcome::never()).into_iter().nth(index).unwrap();
        home.block_on(async {
            drop(value);
            settle().await;
        });
        assert_eq!((server.exits(), server.stats().pending_releases), (vec![exit], 1), "{name}");
        drop(home);
        server.assert_balanced();
        assert_eq!((server.stats().live, server.stats().pending_releases), (0, 0), "{name}");
        assert_eq!(server.events.count(Event::Abandoned(exit, Abandoned::NoRuntime)), 1, "{name}");
    }
}

#[test]
fn release_after_block_on_runs_later_or_is_abandoned() {
    for goes_on in [true, false] {
        for (index, (name, exit, _)) in every_kind().into_iter().enumerate() {
            let home = runtime();
            let (_, _, server, value) = made_on(&home).into_iter().nth(index).unwrap();
            home.block_on(async { drop(value) });
            assert_eq!(server.stats().live, 1, "{name}");
            if goes_on {
                home.block_on(server.finish());
                assert_eq!(server.exits(), [exit], "{name}");
            }
            drop(home);
            server.assert_balanced();
            assert_eq!(server.stats().live, 0, "{name}");
            assert_eq!(server.stats().abandoned, u64::from(!goes_on), "{name}");
        }
    }
}

#[test]
fn drop_in_spawn_blocking_releases_on_its_runtime() {
    let home = runtime();
    for (name, exit, server, value) in made_on(&home) {
        home.block_on(async {
            tokio::task::spawn_blocking(move || drop(value)).await.unwrap();
            server.finish().await;
        });
        assert_eq!(server.exits(), [exit], "{name}");
    }
}

#[test]
fn drop_while_unwinding_exits_as_panicked() {
    let home = runtime();
    for (name, exit, server, value) in made_on(&home) {
        expect_panic(move || {
            let _value = value;
            panic!("in the handler");
        });
        home.block_on(server.finish());
        // An exit that was passed before is kept.
        let expected = if exit == Exit::Cancelled { Exit::Panicked } else { exit };
        assert_eq!(server.exits(), [expected], "{name}");
    }
}

#[test]
fn resource_that_panics_anywhere_makes_no_drop_panic() {
    for at in At::ALL {
        for unwinding in [false, true] {
            let server = Server::new();
            let home = runtime();
            let bomb = Hooked::bomb(at);
            home.block_on(async {
                let scope = server.scopes.open();
                let Ok(guard) = scope.lazy(&bomb).get().await else { return };
                drop(guard);
                let lent = scope.lazy(&bomb).get().await.unwrap();
                let other = server.scopes.open();
                drop(other.lazy(&bomb).get().await.unwrap());
                let lease = Lease::acquire_in(server.scopes.reaper(), &bomb).await.unwrap();
                drop(scope);
                let all = (lent, lease, other);
                if unwinding {
                    expect_panic(move || {
                        let _all = all;
                        panic!("in the handler");
                    });
                } else {
                    drop(all);
                }
            });
            home.block_on(server.scopes.drain(Duration::from_secs(5)));
            let stats = server.stats();
            assert_eq!(stats.acquired, stats.released + stats.abandoned, "{at:?}");
            assert_eq!(stats.acquired, bomb.dropped(), "{at:?}: each handle is dropped once");
            let fails = matches!(at, At::Reclaim | At::Release | At::HandleDrop);
            assert_eq!(stats.release_failed, if fails { stats.acquired } else { 0 }, "{at:?}");
        }
    }
}

#[test]
fn handle_that_panics_in_its_drop_is_abandoned() {
    let bomb = Hooked::bomb(At::HandleDrop);
    let server = Server::new();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&bomb)));
    drop(scope); // Without a runtime the release is dropped with its handle.
    assert_eq!((bomb.dropped(), server.stats().abandoned), (1, 1));
}

#[test]
fn acquisition_that_panics_in_its_drop_is_caught() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            quiet_panic("half-made");
        }
    }
    let half_made = Arc::new(resource_fn(|| async {
        let _bomb = Bomb;
        std::future::pending::<Result<(), Error<Infallible>>>().await
    }));
    let reaper = Reaper::new();
    runtime().block_on(async {
        let mut acquisition = Box::pin(Lease::acquire_in(&reaper, &half_made));
        assert!(poll_once(acquisition.as_mut()).is_pending());
        drop(acquisition);
    });
    assert_eq!(reaper.stats().acquired, 0);
}

#[test]
fn panicking_observer_is_counted_and_does_no_harm() {
    struct Panicking;
    impl reqscope::Observer for Panicking {
        fn acquired(&self, _: reqscope::observer::Subject, _: Duration) {
            quiet_panic("in the observer");
        }
        fn released(&self, _: reqscope::observer::Subject, _: Exit) {
            quiet_panic("in the observer");
        }
    }
    let server = Server::configured(Probe::new(), |builder| builder.observer(Panicking));
    runtime().block_on(async {
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        expect_panic(move || {
            let _scope = scope;
            panic!("in the handler");
        });
        server.scopes.drain(Duration::from_secs(1)).await;
    });
    let stats = server.stats();
    assert_eq!((stats.acquired, stats.released, stats.observer_panics), (1, 1, 2));
}

#[test]
fn get_dropped_after_its_runtime_is_quiet() {
    let (home, server) = (runtime(), Server::new());
    server.probe.on(Verb::Acquire).next(Outcome::never());
    let scope = server.scopes.open();
    let mut get = Box::pin(scope.lazy(&server.probe).get());
    home.block_on(async { assert!(poll_n(3, get.as_mut()).is_pending()) });
    drop(home);
    drop(get);
    drop(scope);
    server.assert_balanced();
    assert_eq!(server.probe.counts().acquiring, 0);
}

/// The fault: a cell of the closed scope that the test still held kept its handle.
#[test]
fn unpolled_close_without_a_runtime_ends_every_handle() {
    let server = Server::with(Probe::new().settling());
    let reclaiming = Arc::new(server.probe.sibling().settling().reclaiming());
    let scope = server.scopes.open();
    let kept = (scope.lazy(&reclaiming), scope.lazy(&server.probe));
    drop(get_now(&kept.0));
    drop(get_now(&kept.1));
    drop(scope.close(Exit::Completed));
    assert_eq!(server.stats().live, 0, "a cell of a closed scope must not keep a handle");
    assert_eq!(server.exits(), [Exit::Completed], "the handle that could be reclaimed was reclaimed");
    assert_eq!(server.stats().abandoned, 1);
    server.assert_balanced();
    drop(poll_once(pin!(kept.0.get())));
}
