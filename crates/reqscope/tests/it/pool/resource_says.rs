//! What a resource says about itself and its handles, as far as a pool relies on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::pool::{PoolBuilder, Reset};
use reqscope::{Error, Exit, Health, Pool, Pooled, Resource};
use reqscope_testkit::{Probe, ProbeHandle, Verb, quiet_panic};
use tokio::time::sleep;

use crate::support::{bounded, settle};
use crate::watchdog::watch;

/// A probe that says more.
struct Says {
    probe: Probe,
    reset: Reset,
    /// The error of each handle that is asked for its fault.
    fault: Fault,
    /// Called each time.
    asked: Asked,
}

type Fault = fn() -> Option<Error<io::Error>>;
type Asked = Arc<Mutex<Vec<u64>>>;

impl Resource for Says {
    type Handle = ProbeHandle;
    type Cause = io::Error;

    async fn acquire(&self) -> Result<ProbeHandle, Error<io::Error>> {
        self.probe.acquire().await.map_err(|_| Error::unavailable())
    }

    async fn validate(&self, handle: &mut ProbeHandle) -> Result<(), Error<io::Error>> {
        self.probe.validate(handle).await.map_err(|_| Error::unavailable())
    }

    async fn release(&self, handle: ProbeHandle, exit: Exit) -> Result<(), Error<io::Error>> {
        self.probe.release(handle, exit).await.map_err(|_| Error::unavailable())
    }

    fn probe(&self, handle: &ProbeHandle) -> Health {
        self.probe.probe(handle)
    }

    fn reset(&self) -> Reset {
        self.reset
    }

    fn fault(&self, handle: &ProbeHandle) -> Option<Error<io::Error>> {
        assert!(self.probe.record(handle.id()).exits.is_empty(), "its release has begun");
        self.asked.lock().push(handle.id());
        (self.fault)()
    }
}

fn unavailable() -> Error<io::Error> {
    Error::unavailable().with_cause(io::Error::other("the server is shutting down"))
}

struct Scene {
    pool: Pool<Says>,
    probe: Probe,
    asked: Asked,
}

impl Scene {
    fn new(reset: Reset, fault: Fault, configure: impl FnOnce(PoolBuilder<Says>) -> PoolBuilder<Says>) -> Self {
        watch();
        let (probe, asked) = (Probe::new(), Asked::default());
        let says = Says { probe: probe.clone(), reset, fault, asked: Arc::clone(&asked) };
        Scene { pool: configure(Pool::builder().max_size(20)).build(says), probe, asked }
    }

    fn with_fault(fault: Fault) -> Self {
        Self::new(Reset::AfterDoubt, fault, |builder| builder)
    }

    /// Takes so many handles that were used before, and so are known to have been sound.
    async fn proved(&self, count: usize) -> Vec<Pooled<Says>> {
        let mut handles = Vec::new();
        for _ in 0..2 {
            handles.drain(..).for_each(|handle| self.pool.put(handle));
            for _ in 0..count {
                handles.push(bounded(self.pool.get()).await.unwrap());
            }
        }
        handles
    }

    async fn kill(&self, handles: Vec<Pooled<Says>>) {
        for mut handle in handles {
            handle.kill();
            self.pool.put(handle);
        }
        settle().await;
    }
}

// reset

#[tokio::test(start_paused = true)]
async fn resource_that_wants_a_reset_is_validated_after_each_use() {
    let scene = Scene::new(Reset::Always, || None, |builder| builder);
    for validations in 1..=3 {
        scene.pool.put(bounded(scene.pool.get()).await.unwrap());
        settle().await;
        assert_eq!(scene.probe.on(Verb::Validate).calls(), validations);
    }
}

#[tokio::test(start_paused = true)]
async fn builder_has_the_last_word_about_the_reset() {
    for (resource, builder, validations) in
        [(Reset::Always, Reset::AfterDoubt, 0), (Reset::AfterDoubt, Reset::Always, 1)]
    {
        let scene = Scene::new(resource, || None, |pool| pool.reset(builder));
        scene.pool.put(bounded(scene.pool.get()).await.unwrap());
        settle().await;
        assert_eq!(scene.probe.on(Verb::Validate).calls(), validations);
    }
}

// fault

/// A server that ends all its sessions as it shuts down.
#[tokio::test(start_paused = true)]
async fn many_unavailable_faults_open_the_breaker() {
    let scene = Scene::with_fault(|| Some(unavailable()));
    scene.kill(scene.proved(10).await).await;
    assert!(scene.pool.status().down, "{:?}", scene.pool);
    let error = bounded(scene.pool.get()).await.unwrap_err();
    assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
}

/// A connection that an operator has killed.
#[tokio::test(start_paused = true)]
async fn one_unavailable_fault_opens_nothing() {
    let scene = Scene::with_fault(|| Some(unavailable()));
    scene.kill(scene.proved(1).await).await;
    assert_eq!(*scene.asked.lock(), [0]);
    assert!(!scene.pool.status().down, "{:?}", scene.pool);
    scene.pool.put(bounded(scene.pool.get()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn faults_far_apart_open_nothing() {
    let scene = Scene::with_fault(|| Some(unavailable()));
    for _ in 0..20 {
        scene.kill(scene.proved(1).await).await;
        sleep(Duration::from_secs(60)).await;
    }
    assert!(!scene.pool.status().down, "{:?}", scene.pool);
}

/// An error that says nothing about the backend.
#[tokio::test(start_paused = true)]
async fn other_faults_open_nothing() {
    for fault in
        [(|| None) as Fault, || Some(Error::failed(io::Error::other("syntax error"))), || quiet_panic("in `fault`")]
    {
        let scene = Scene::with_fault(fault);
        scene.kill(scene.proved(10).await).await;
        assert_eq!(scene.asked.lock().len(), 10);
        assert!(!scene.pool.status().down, "{:?}", scene.pool);
        scene.pool.put(bounded(scene.pool.get()).await.unwrap());
        let counts = scene.probe.counts();
        assert_eq!((counts.released, counts.double_released, counts.abandoned), (10, 0, 0), "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sound_handles_are_not_asked_for_their_fault() {
    let scene = Scene::with_fault(|| Some(unavailable()));
    scene.proved(10).await.into_iter().for_each(|handle| scene.pool.put(handle));
    for handle in scene.proved(2).await {
        drop(handle);
    }
    scene.pool.put(bounded(scene.pool.get()).await.unwrap());
    assert!(scene.asked.lock().is_empty(), "{:?}", scene.asked.lock());
}

// A pool as the resource of another one

#[tokio::test(start_paused = true)]
async fn pool_around_a_pool_validates_the_innermost_handle() {
    let probe = Probe::new();
    let outer = Pool::new(Pool::new(probe.clone()));
    drop(bounded(outer.get()).await.unwrap());
    outer.put(bounded(outer.get()).await.unwrap());
    assert_eq!(probe.on(Verb::Validate).calls(), 1, "its last use was left open");
}

#[tokio::test(start_paused = true)]
async fn faults_of_pooled_handles_open_the_breaker_of_an_outer_pool() {
    let scene = Scene::with_fault(|| Some(unavailable()));
    let outer = Pool::builder().max_size(20).build(scene.pool.clone());
    let mut handles = Vec::new();
    for _ in 0..2 {
        handles.drain(..).for_each(|handle| outer.put(handle));
        for _ in 0..10 {
            handles.push(bounded(outer.get()).await.unwrap());
        }
    }
    for mut handle in handles {
        handle.kill();
        outer.put(handle);
    }
    assert!(outer.status().down, "{outer:?}");
}
