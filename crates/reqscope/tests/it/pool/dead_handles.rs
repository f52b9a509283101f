//! Handles that die while they are idle are found together, and are not lent.

use std::time::Duration;

use reqscope_testkit::{Probe, Verb, poll_once};
use tokio::time::Instant;

use super::rig::Rig;
use crate::support::{bounded, settle};

const SIZE: usize = 10;

/// Happens when a firewall has forgotten all connections: a dead one is known only by a missing answer.
#[tokio::test(start_paused = true)]
async fn handles_dead_together_are_found_in_two_timeouts() {
    let timeout = Duration::from_secs(2);
    let rig = Rig::configured(Probe::new(), |builder| {
        builder.max_size(SIZE).validate_after(Duration::ZERO).validate_timeout(timeout)
    });
    rig.fill(SIZE).await;
    for _ in 0..SIZE {
        rig.probe.on(Verb::Validate).never();
    }
    let began = Instant::now();
    let first = rig.take().await;
    assert!(began.elapsed() <= timeout + Duration::from_millis(10), "{:?}", began.elapsed());
    assert_eq!(first.id(), SIZE as u64, "a new handle");
    // The others are validated meanwhile, all at the same time.
    let mut all = vec![first];
    all.extend(rig.take_all(SIZE - 1).await);
    assert!(began.elapsed() <= 2 * timeout + Duration::from_millis(10), "{:?}", began.elapsed());
    assert!(all.iter().all(|handle| handle.id() >= SIZE as u64));
    rig.put_all(all);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_lose_one_timeout_to_dead_handles() {
    let timeout = Duration::from_secs(2);
    let rig = Rig::configured(Probe::new(), |builder| {
        builder.max_size(SIZE).validate_after(Duration::ZERO).validate_timeout(timeout)
    });
    rig.fill(SIZE).await;
    for _ in 0..SIZE {
        rig.probe.on(Verb::Validate).never();
    }
    let began = Instant::now();
    let waiters: Vec<_> = (0..SIZE).map(|_| rig.waiter()).collect();
    for waiter in waiters {
        rig.pool.put(bounded(waiter).await.unwrap());
    }
    assert!(began.elapsed() <= timeout + Duration::from_millis(10), "{:?}", began.elapsed());
    rig.finish(0).await;
}

/// `probe` finds them, without waiting.
#[tokio::test(start_paused = true)]
async fn handles_that_look_dead_cost_no_time() {
    let rig = Rig::new(SIZE);
    rig.fill(SIZE).await;
    rig.probe.kill_all();
    let began = Instant::now();
    let all = rig.take_all(SIZE).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(all.iter().all(|handle| handle.id() >= SIZE as u64));
    assert_eq!(rig.probe.counts().validated, 0);
    rig.put_all(all);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn live_handle_among_suspects_stays_in_the_pool() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(SIZE).validate_after(Duration::ZERO));
    rig.fill(SIZE).await;
    rig.probe.on(Verb::Validate).error();
    let handle = rig.take().await;
    rig.pool.put(handle);
    settle().await;
    let counts = rig.probe.counts();
    assert!(counts.validated >= SIZE as u64 - 1, "all the others were validated: {counts:?}");
    assert_eq!(counts.released, 1, "{counts:?}");
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn handle_dead_at_its_grant_is_replaced_for_the_waiter() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let (first, mut second) = (rig.waiter(), rig.waiter());
    rig.pool.put(held);
    // The handle was granted, and dies before the waiter is polled.
    rig.probe.kill_all();
    let handle = bounded(first).await.unwrap();
    assert_eq!(handle.id(), 1);
    assert!(poll_once(second.as_mut()).is_pending());
    rig.pool.put(handle);
    rig.pool.put(bounded(second).await.unwrap());
    rig.finish(0).await;
}

/// The waiter that was granted it is dropped: the grant is passed on, and the next waiter finds the handle dead.
#[tokio::test(start_paused = true)]
async fn handle_that_dies_while_granted_is_not_lent() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let (first, second) = (rig.waiter(), rig.waiter());
    rig.pool.put(held);
    rig.probe.kill_all();
    drop(first);
    let handle = bounded(second).await.unwrap();
    assert_eq!(handle.id(), 1);
    rig.pool.put(handle);
    rig.finish(0).await;
}
