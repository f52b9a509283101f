//! L12 in a close: the deadlines of its releases, shared and separate.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::Abandoned;
use reqscope::scope::Problem;
use reqscope::{Error, Exit, Resource, Scopes};
use reqscope_testkit::{Gate, Outcome, Probe, Verb};
use tokio::time::Instant;

use crate::settling::{each_release, problem, release_error, resources, used};
use crate::support::{Event, Server, bounded, get_now, settle};

/// Releases that do not settle have their own deadline each, which begins after that of the close.
#[tokio::test(start_paused = true)]
async fn settling_releases_share_one_deadline_of_5_seconds() {
    let (server, all) = resources([false, true, true]);
    each_release(&all, Gate::never);
    let scope = used(&server, &all);
    let began = Instant::now();
    let error = bounded(scope.close(Exit::Completed)).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 5);
    let [hung, next] = error.problems() else { panic!("{error}") };
    assert!(release_error(hung).is_timeout());
    assert!(matches!(next, Problem::StillReleasing { .. }), "{next:?}");
    assert_eq!(server.stats().abandoned, 1);
    server.finish().await;
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(server.events.count(Event::Abandoned(Exit::Completed, Abandoned::Deadline)), 3);
}

#[tokio::test(start_paused = true)]
async fn settling_release_gets_the_time_left_by_the_one_before() {
    let (server, all) = resources([true, true]);
    all[1].on(Verb::Release).next(Outcome::ok().after(Duration::from_secs(3)));
    all[0].on(Verb::Release).never();
    let scope = used(&server, &all);
    let began = Instant::now();
    assert!(release_error(&problem(scope.close(Exit::Completed)).await).is_timeout());
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn hanging_settling_release_does_not_stop_the_next() {
    let (server, all) = resources([true, true]);
    all[0].on(Verb::Release).slow(3);
    all[1].on(Verb::Release).never();
    let error = bounded(used(&server, &all).close(Exit::Completed)).await.unwrap_err();
    let [_, Problem::StillReleasing { .. }] = error.problems() else { panic!("{error}") };
    server.finish().await;
    assert_eq!((server.stats().released, server.stats().abandoned), (1, 1));
    assert_eq!(server.exits(), [Exit::Completed; 2]);
}

/// The deadline of the close has passed when the second release begins, which is ready at its first poll.
#[tokio::test(start_paused = true)]
async fn release_ready_at_once_needs_no_time_left() {
    let (server, all) = resources([true, true]);
    all[1].on(Verb::Release).never();
    let scope = used(&server, &all);
    let error = scope.close(Exit::Completed).await.unwrap_err();
    assert_eq!(error.problems().len(), 1, "{error}");
    server.finish().await;
    assert_eq!((server.stats().released, server.stats().abandoned), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn hanging_release_in_the_reaper_delays_no_other() {
    let (server, all) = resources([false, false, false]);
    all[2].on(Verb::Release).never();
    drop(used(&server, &all));
    settle().await;
    assert_eq!(server.stats().released, 2);
    assert_eq!(server.stats().pending_releases, 1);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn close_timeout_can_be_set() {
    let server = Server::configured(Probe::new().settling(), |builder| builder.close_timeout(Duration::from_secs(1)));
    server.probe.on(Verb::Release).never();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let began = Instant::now();
    assert!(release_error(&problem(scope.close(Exit::Completed)).await).is_timeout());
    assert_eq!(began.elapsed().as_secs(), 1);
}

/// A resource whose release waits for the test, and counts its polls.
#[derive(Default)]
struct Counted {
    polls: Arc<AtomicUsize>,
    may_end: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Counted {
    fn let_end(&self) {
        self.may_end.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Resource for Counted {
    type Handle = ();
    type Cause = Infallible;

    async fn acquire(&self) -> Result<(), Error<Infallible>> {
        Ok(())
    }

    fn release(&self, (): (), _exit: Exit) -> impl Future<Output = Result<(), Error<Infallible>>> + Send {
        poll_fn(|cx| {
            self.polls.fetch_add(1, Ordering::Relaxed);
            *self.waker.lock() = Some(cx.waker().clone());
            if self.may_end.load(Ordering::Relaxed) { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
    }
}

/// The fault: one task polled all releases of a scope whenever one of them woke it, which took half a million polls here.
#[tokio::test(start_paused = true)]
async fn releases_that_end_one_by_one_are_polled_a_few_times_each() {
    const MANY: usize = 1_000;
    for by_drop in [false, true] {
        let polls = Arc::new(AtomicUsize::new(0));
        let resource = || Arc::new(Counted { polls: Arc::clone(&polls), ..Counted::default() });
        let resources: Vec<_> = (0..MANY).map(|_| resource()).collect();
        let scopes = Scopes::new();
        let scope = scopes.open();
        for resource in &resources {
            drop(scope.lazy(resource).get().await.unwrap());
        }
        if by_drop {
            drop(scope);
        } else {
            scope.close(Exit::Completed).await.unwrap();
        }
        settle().await;
        for resource in resources {
            resource.let_end();
            tokio::task::yield_now().await;
        }
        assert!(scopes.drain(Duration::from_secs(1)).await.is_clean());
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls <= 5 * MANY, "{polls} polls");
    }
}
