//! L12 and L13 for creations, validations and releases on a runtime that is alive but not driven any more: a waiter on
//! another runtime is served after their timeout, and what comes late is released once.

use std::time::Duration;

use reqscope::pool::{PoolBuilder, Reset};
use reqscope_testkit::{Outcome, Probe, Verb};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::rig::{Rig, Waiter};
use crate::support::{bounded, runtime, settle};

const SECOND: Duration = Duration::from_secs(1);
const CREATE: Duration = Duration::from_secs(3);
const VALIDATE: Duration = Duration::from_secs(2);
const RELEASE: Duration = Duration::from_secs(4);

/// A runtime that is not driven any more, one that is, and a pool whose callers wait for much longer than its timeouts.
struct Scene {
    still: Runtime,
    live: Runtime,
    rig: Rig,
}

impl Scene {
    fn new(configure: impl FnOnce(PoolBuilder<Probe>) -> PoolBuilder<Probe>) -> Self {
        let rig = Rig::configured(Probe::new(), |builder| {
            let builder = builder.create_timeout(CREATE).validate_timeout(VALIDATE).release_timeout(RELEASE);
            configure(builder.acquire_timeout(60 * SECOND))
        });
        Scene { still: runtime(), live: runtime(), rig }
    }

    /// Begins so many creations on the runtime that is not driven afterwards, and cuts the `get`s that caused them.
    fn begin_creations(&self, count: usize) {
        self.still.block_on(async {
            let gets: Vec<Waiter> = (0..count).map(|_| self.rig.waiter()).collect();
            settle().await;
            drop(gets);
        });
        assert_eq!(self.rig.pool.status().creating, count);
    }

    /// Begins the validation of a returned handle on the runtime that is not driven afterwards.
    fn begin_validation(&self) {
        self.rig.probe.on(Verb::Validate).next(Outcome::ok().after(SECOND));
        self.still.block_on(async {
            drop(self.rig.take().await);
            settle().await;
        });
        assert_eq!(self.rig.counts(), [1, 0, 0, 0, 0]);
    }

    /// Begins the release of a dead handle on the runtime that is not driven afterwards.
    fn begin_release(&self) {
        self.rig.probe.on(Verb::Release).next(Outcome::ok().after(SECOND));
        self.still.block_on(async {
            self.rig.take().await.kill();
            settle().await;
        });
        assert_eq!(self.rig.counts(), [0, 0, 0, 1, 0]);
    }

    /// Asserts that a caller on the live runtime is served within this time.
    fn serves_within(&self, timeout: Duration) {
        self.live.block_on(async {
            let began = Instant::now();
            let served = bounded(self.rig.pool.get()).await;
            let waited = began.elapsed();
            match served {
                Ok(handle) => self.rig.pool.put(handle),
                Err(error) => panic!("refused after {waited:?}: {error}"),
            }
            assert!(waited <= timeout + SECOND, "served after {waited:?}");
        });
    }

    /// Lets the runtime that stood still go on, until all it was to do has ended.
    fn goes_on(&self) {
        self.still.block_on(async { sleep(10 * SECOND).await });
    }

    /// Lets what stood still go on, and checks that nothing was lost or released twice.
    fn end(self, abandoned: u64) {
        self.goes_on();
        self.live.block_on(self.rig.finish(abandoned));
    }
}

/// The fault: four cut `get`s held all of `create_concurrency`, and a pool of a hundred with nothing in use served no caller
/// while that runtime lived.
#[test]
fn cut_gets_on_an_undriven_runtime_cost_no_creations() {
    let scene = Scene::new(|builder| builder.max_size(100).create_concurrency(4));
    for _ in 0..4 {
        scene.rig.probe.on(Verb::Acquire).next(Outcome::ok().after(SECOND));
    }
    scene.begin_creations(4);
    scene.serves_within(CREATE);
}

/// The late handles come when their runtime is driven again.
#[test]
fn late_creations_are_released_once() {
    let scene = Scene::new(|builder| builder.max_size(4));
    for _ in 0..4 {
        scene.rig.probe.on(Verb::Acquire).next(Outcome::ok().after(SECOND));
    }
    scene.begin_creations(4);
    scene.serves_within(CREATE);
    scene.goes_on();
    let (status, counts) = (scene.rig.pool.status(), scene.rig.probe.counts());
    assert!(status.in_use + status.idle + status.creating + status.ending <= 4, "a slot too many: {status:?}");
    assert_eq!(counts.live(), status.idle as u64, "{counts:?} {status:?}");
    scene.end(0);
}

/// They began to wait while the creations could still end.
#[test]
fn waiters_on_a_live_runtime_begin_creations_again() {
    let scene = Scene::new(|builder| builder.max_size(4));
    for _ in 0..4 {
        scene.rig.probe.on(Verb::Acquire).next(Outcome::never());
    }
    scene.begin_creations(4);
    scene.live.block_on(async {
        let began = Instant::now();
        let waiters: Vec<_> = (0..4).map(|_| tokio::spawn(scene.rig.waiter())).collect();
        let mut served = Vec::new();
        for waiter in waiters {
            served.push(bounded(waiter).await.unwrap().unwrap());
        }
        assert!(began.elapsed() <= CREATE + SECOND, "{:?}", began.elapsed());
        scene.rig.put_all(served);
    });
    scene.end(0);
}

/// Each creation is given up once, however many waiters find it overdue.
#[test]
fn given_up_creation_is_begun_again_once_per_slot() {
    let scene = Scene::new(|builder| builder.max_size(1));
    scene.rig.probe.on(Verb::Acquire).next(Outcome::never());
    scene.begin_creations(1);
    scene.live.block_on(async {
        let pool = &scene.rig;
        let waiters: Vec<_> = (0..20).map(|_| tokio::spawn(pool.waiter())).collect();
        for waiter in waiters {
            pool.pool.put(bounded(waiter).await.unwrap().unwrap());
        }
        assert_eq!(pool.probe.counts().acquires, 2);
    });
    scene.end(0);
}

/// L18: a caller's runtime says nothing about the backend.
#[test]
fn given_up_creation_does_not_open_the_breaker() {
    let scene = Scene::new(|builder| builder.max_size(4));
    for _ in 0..4 {
        scene.rig.probe.on(Verb::Acquire).next(Outcome::never());
    }
    scene.begin_creations(4);
    scene.serves_within(CREATE);
    let status = scene.rig.pool.status();
    assert!(!status.down && status.last_failure.is_none(), "{status:?}");
}

/// L18: while a probe is under way, every other caller is refused.
#[test]
fn given_up_probe_does_not_block_the_next() {
    let scene = Scene::new(|builder| builder.max_size(4));
    scene.rig.probe.on(Verb::Acquire).next(Outcome::permanent()).never();
    scene.still.block_on(async {
        while bounded(scene.rig.pool.get_timeout(SECOND)).await.is_err_and(|error| !error.is_timeout()) {
            sleep(SECOND / 10).await;
        }
    });
    assert_eq!((scene.rig.pool.status().creating, scene.rig.pool.status().down), (1, true));
    scene.live.block_on(async {
        let began = Instant::now();
        let served = loop {
            match bounded(scene.rig.pool.get()).await {
                Ok(handle) => break handle,
                Err(error) => assert!(began.elapsed() <= CREATE + SECOND, "{error}"),
            }
            sleep(SECOND / 10).await;
        };
        scene.rig.pool.put(served);
    });
    scene.end(0);
}

/// The fault: the validation held the slot for as long as its runtime lived.
#[test]
fn validation_on_an_undriven_runtime_gives_its_slot_up() {
    let scene = Scene::new(|builder| builder.max_size(1).reset(Reset::Always));
    scene.begin_validation();
    scene.serves_within(VALIDATE);
}

/// Whether the late validation succeeds or not, its handle is not lent again.
#[test]
fn late_validation_releases_its_handle_once() {
    for outcome in [Outcome::ok(), Outcome::error()] {
        let scene = Scene::new(|builder| builder.max_size(1).reset(Reset::Always));
        scene.rig.probe.on(Verb::Validate).next(outcome.after(SECOND));
        scene.still.block_on(async {
            drop(scene.rig.take().await);
            settle().await;
        });
        scene.serves_within(VALIDATE);
        scene.goes_on();
        let (status, record) = (scene.rig.pool.status(), scene.rig.probe.record(0));
        assert_eq!((record.exits.len(), status.in_use, status.ending), (1, 0, 0), "{status:?}");
        scene.end(0);
    }
}

/// The fault: as above.
#[test]
fn release_on_an_undriven_runtime_gives_its_slot_up() {
    let scene = Scene::new(|builder| builder.max_size(1));
    scene.begin_release();
    scene.serves_within(RELEASE);
}

/// The slot was given up, and has another handle by the time the release ends.
#[test]
fn late_release_frees_its_slot_once() {
    let scene = Scene::new(|builder| builder.max_size(1));
    scene.begin_release();
    scene.serves_within(RELEASE);
    scene.goes_on();
    assert_eq!(scene.rig.counts(), [0, 1, 0, 0, 0]);
    let counts = scene.rig.probe.counts();
    assert_eq!((counts.double_released, counts.live()), (0, 1), "{counts:?}");
    scene.live.block_on(async {
        let held = scene.rig.take().await;
        let mut second = scene.rig.waiter();
        settle().await;
        let second_poll = reqscope_testkit::poll_once(second.as_mut());
        assert!(second_poll.is_pending(), "there is one handle too many");
        scene.rig.pool.put(held);
    });
}

/// A waiter that came before the release began finds it overdue by its own timer.
#[test]
fn waiter_finds_an_overdue_release_by_itself() {
    let scene = Scene::new(|builder| builder.max_size(1));
    let mut held = scene.still.block_on(scene.rig.take());
    let waiter = scene.rig.waiter_on(&scene.live);
    scene.rig.probe.on(Verb::Release).never();
    held.kill();
    scene.still.block_on(async {
        drop(held);
        settle().await;
    });
    scene.live.block_on(async {
        let began = Instant::now();
        let handle = bounded(waiter).await.unwrap();
        assert!(began.elapsed() <= RELEASE + SECOND, "{:?}", began.elapsed());
        scene.rig.pool.put(handle);
    });
}

/// A check-out that is alive and not polled, as in a `select!` whose other branch is being worked on.
#[test]
fn validation_of_an_unpolled_check_out_gives_its_slot_up() {
    let scene = Scene::new(|builder| builder.max_size(1));
    scene.rig.probe.on(Verb::Validate).next(Outcome::ok().after(SECOND));
    let mut get = None;
    scene.still.block_on(async {
        drop(scene.rig.take().await);
        get = Some(scene.rig.waiter());
        settle().await;
    });
    scene.serves_within(VALIDATE);
    // It goes on with the handle that the other caller has put back.
    let handle = scene.still.block_on(async {
        let handle = bounded(get.unwrap()).await.unwrap();
        settle().await;
        handle
    });
    assert_eq!((handle.id(), scene.rig.probe.record(0).exits.len()), (1, 1));
    scene.rig.pool.put(handle);
    scene.end(0);
}
