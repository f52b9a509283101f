//! Which returned handles are validated, by the word of the resource.

use std::sync::Arc;
use std::time::Duration;

use reqscope::{Error, Health, Lease, Pool, Reset, Resource, ResourceExt};
use reqscope_testkit::{Probe, ProbeHandle, Scripted, quiet_panic};

use crate::support::{bounded, settle};

/// Handles whose users leave something behind.
struct Sessions {
    probe: Probe,
    reset: fn() -> Reset,
}

impl Resource for Sessions {
    type Handle = ProbeHandle;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
        self.probe.acquire().await
    }

    async fn validate(&self, handle: &mut ProbeHandle) -> Result<(), Error<Scripted>> {
        self.probe.validate(handle).await
    }

    fn probe(&self, handle: &ProbeHandle) -> Health {
        self.probe.probe(handle)
    }

    fn reset(&self) -> Reset {
        (self.reset)()
    }
}

/// Returns how many validations follow three completed uses of one handle.
async fn validations<R: Resource>(reset: fn() -> Reset, build: impl FnOnce(Sessions) -> Pool<R>) -> u64 {
    let probe = Probe::new();
    let pool = Arc::new(build(Sessions { probe: probe.clone(), reset }));
    for _ in 0..3 {
        let lease = bounded(Lease::acquire(&pool)).await.ok().unwrap();
        bounded(Lease::complete(lease)).await.ok().unwrap();
        settle().await;
    }
    probe.counts().validated
}

#[tokio::test(start_paused = true)]
async fn resource_decides_which_handles_are_validated() {
    assert_eq!(validations(|| Reset::Always, Pool::new).await, 3);
    assert_eq!(validations(|| Reset::AfterDoubt, Pool::new).await, 0);
}

#[tokio::test(start_paused = true)]
async fn reset_of_the_builder_takes_precedence() {
    for set in [Reset::AfterDoubt, Reset::Always] {
        let expected = if set == Reset::Always { 3 } else { 0 };
        let build = |sessions| Pool::builder().reset(set).build(sessions);
        assert_eq!(validations(|| Reset::Always, build).await, expected, "{set:?}");
        let build = |sessions| Pool::builder().reset(set).build(sessions);
        assert_eq!(validations(|| Reset::AfterDoubt, build).await, expected, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn resource_inside_wrappers_decides_too() {
    let build = |sessions: Sessions| Pool::new(Arc::new(sessions.timeout(Duration::from_secs(1))).boxed());
    assert_eq!(validations(|| Reset::Always, build).await, 3);
}

#[tokio::test(start_paused = true)]
async fn reset_of_an_inner_pool_applies_to_the_outer_one() {
    let build = |sessions| Pool::new(Pool::builder().reset(Reset::Always).build(sessions));
    assert_eq!(validations(|| Reset::AfterDoubt, build).await, 3);
}

#[tokio::test(start_paused = true)]
async fn reset_that_panics_counts_as_always() {
    assert_eq!(validations(|| quiet_panic("scripted panic"), Pool::new).await, 3);
}
