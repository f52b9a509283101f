//! The janitor validates idle handles (`keepalive`) and reports handles held for too long (`leak_after`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope::observer::Subject;
use reqscope::{Exit, Observer, Scopes};
use reqscope_testkit::{Outcome, Probe, Verb};

use super::aging::{ROUND, SECOND, fill, ids, pass, without_limits};
use crate::support::settle;

// keepalive

#[tokio::test(start_paused = true)]
async fn keepalive_validates_idle_handles_again_and_again() {
    let probe = Probe::new();
    let pool = without_limits().keepalive(30 * SECOND).build(probe.clone());
    fill(&pool, 3).await;
    pass(29 * SECOND).await;
    assert_eq!(probe.on(Verb::Validate).calls(), 0);
    pass(2 * SECOND).await;
    assert_eq!(probe.on(Verb::Validate).calls(), 3);
    pass(31 * SECOND).await;
    assert_eq!(probe.on(Verb::Validate).calls(), 6);
    assert_eq!((pool.status().idle, pool.status().uses), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn keepalive_skips_handles_in_use() {
    let probe = Probe::new();
    let pool = without_limits().keepalive(30 * SECOND).validate_after(Duration::MAX).build(probe.clone());
    for _ in 0..10 {
        fill(&pool, 1).await;
        pass(20 * SECOND).await;
    }
    assert_eq!((probe.on(Verb::Validate).calls(), pool.status().created), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn first_dead_handle_has_all_the_others_validated() {
    let probe = Probe::new();
    let pool = without_limits().max_size(40).keepalive(30 * SECOND).validate_timeout(2 * SECOND).build(probe.clone());
    fill(&pool, 40).await;
    pass(20 * SECOND).await;
    fill(&pool, 39).await;
    probe.on(Verb::Validate).always(Outcome::never());
    // The handle that was not used again is due now, the others in 20 s. It costs one timeout, they one more together.
    pass(10 * SECOND + 4 * SECOND + 3 * ROUND).await;
    assert_eq!((pool.status().idle, pool.status().unsound, pool.status().retired), (0, 40, 40));
}

#[tokio::test(start_paused = true)]
async fn keepalive_does_not_count_as_a_use() {
    let probe = Probe::new();
    let pool = without_limits().keepalive(10 * SECOND).idle_timeout(60 * SECOND).max_uses(2).build(probe.clone());
    fill(&pool, 4).await;
    let handle = pool.get().await.unwrap();
    let last = handle.id();
    pass(15 * SECOND).await;
    pool.put(handle);
    settle().await;
    // The one that was used twice is gone; those that were only validated are there.
    assert_eq!(ids(&pool).len(), 3);
    assert!(!ids(&pool).contains(&last));
    pass(46 * SECOND).await;
    assert_eq!(pool.status().idle, 0);
}

#[tokio::test(start_paused = true)]
async fn keepalive_does_not_change_the_order() {
    let pool = without_limits().keepalive(30 * SECOND).build(Probe::new());
    fill(&pool, 3).await;
    let before = ids(&pool);
    pass(20 * SECOND).await;
    let handle = pool.get().await.unwrap();
    assert_eq!(Some(&handle.id()), before.last());
    pool.put(handle);
    pass(12 * SECOND).await;
    assert_eq!(ids(&pool), before);
}

// leak_after

/// An observer that records handles held for too long.
#[derive(Clone, Default)]
struct Leaks(Arc<Mutex<Vec<(u32, Duration)>>>);

impl Observer for Leaks {
    fn held_too_long(&self, of: Subject, held: Duration) {
        self.0.lock().push((of.taken_at.line(), held));
    }
}

#[tokio::test(start_paused = true)]
async fn holder_is_reported_once_per_use_after_leak_after() {
    let leaks = Leaks::default();
    let pool = without_limits().leak_after(60 * SECOND).observer(leaks.clone()).build(Probe::new());
    let (handle, line) = (pool.get().await.unwrap(), line!());
    pass(59 * SECOND).await;
    assert_eq!(*leaks.0.lock(), []);
    pass(SECOND + 2 * ROUND).await;
    let (reported, held) = leaks.0.lock()[0];
    assert_eq!(reported, line);
    assert!((60 * SECOND..=60 * SECOND + 2 * ROUND).contains(&held), "{held:?}");
    pass(600 * SECOND).await;
    pool.put(handle);
    let handle = pool.get().await.unwrap();
    pass(600 * SECOND).await;
    assert_eq!((leaks.0.lock().len(), pool.status().held_too_long), (2, 2));
    pool.put(handle);
}

/// The janitor looks before, when the use has not been too long, and knows when to look again.
#[tokio::test(start_paused = true)]
async fn holder_between_two_looks_is_reported_in_time() {
    let pool = without_limits().leak_after(60 * SECOND).build(Probe::new());
    fill(&pool, 1).await;
    pass(30 * SECOND + ROUND / 2).await;
    let handle = pool.get().await.unwrap();
    pass(60 * SECOND + 2 * ROUND).await;
    assert_eq!(pool.status().held_too_long, 1);
    pool.put(handle);
}

#[tokio::test(start_paused = true)]
async fn waiting_time_does_not_count_as_holding() {
    let leaks = Leaks::default();
    let builder = without_limits().max_size(1).leak_after(10 * SECOND).acquire_timeout(60 * SECOND);
    let pool = Arc::new(builder.observer(leaks.clone()).build(Probe::new()));
    let first = pool.get().await.unwrap();
    let waiting = tokio::spawn(pool.get());
    pass(9 * SECOND).await;
    pool.put(first);
    let second = waiting.await.unwrap().unwrap();
    pass(9 * SECOND).await;
    assert_eq!(*leaks.0.lock(), []);
    let held = pool.holders()[0].held;
    assert!((9 * SECOND..10 * SECOND).contains(&held), "{held:?}");
    pool.put(second);
}

#[tokio::test(start_paused = true)]
async fn handles_held_by_the_pool_itself_are_not_reported() {
    let (leaks, probe) = (Leaks::default(), Probe::new());
    let builder = without_limits().leak_after(SECOND).keepalive(10 * SECOND).validate_timeout(60 * SECOND);
    let pool = builder.observer(leaks.clone()).build(probe.clone());
    fill(&pool, 1).await;
    probe.on(Verb::Validate).close();
    pass(30 * SECOND).await;
    assert_eq!((pool.status().in_use, pool.holders().len(), leaks.0.lock().len()), (1, 0, 0));
    probe.on(Verb::Validate).ok();
}

#[tokio::test(start_paused = true)]
async fn holder_in_a_scope_is_reported_with_the_line_of_its_get() {
    let leaks = Leaks::default();
    let pool = Arc::new(without_limits().leak_after(SECOND).observer(leaks.clone()).build(Probe::new()));
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&pool);
    let (guard, line) = (lazy.get().await.unwrap(), line!());
    pass(2 * SECOND).await;
    assert_eq!(leaks.0.lock()[0].0, line);
    drop(guard);
    scope.close(Exit::Completed).await.unwrap();
}
