//! `Pool::retain`.

use reqscope_testkit::{Probe, quiet_panic};

use super::aging::{fill, ids, without_limits};
use crate::support::settle;

#[tokio::test(start_paused = true)]
async fn retain_releases_rejected_idle_handles_only() {
    let pool = without_limits().build(Probe::new());
    fill(&pool, 4).await;
    let lent = pool.get().await.unwrap();
    let mut asked = 0;
    let retired = pool.retain(|handle| {
        asked += 1;
        assert_ne!(handle.id(), lent.id());
        handle.id() % 2 == 1
    });
    settle().await;
    assert_eq!((asked, pool.status().idle + retired), (3, 3));
    assert_eq!(pool.status().retired, retired as u64);
    pool.put(lent);
}

#[tokio::test(start_paused = true)]
async fn retained_handles_keep_their_order() {
    let pool = without_limits().build(Probe::new());
    fill(&pool, 4).await;
    let lent = pool.get().await.unwrap();
    let last = lent.id();
    pool.put(lent);
    let before = ids(&pool);
    assert_eq!(ids(&pool), before);
    assert_eq!(pool.get().await.map(|handle| handle.id()).unwrap(), last);
}

#[tokio::test(start_paused = true)]
async fn panicking_predicate_costs_one_handle() {
    let pool = without_limits().build(Probe::new());
    fill(&pool, 4).await;
    let mut asked = 0;
    let retired = pool.retain(|_| {
        asked += 1;
        if asked == 2 {
            quiet_panic("in the predicate");
        }
        true
    });
    settle().await;
    assert_eq!((asked, retired, pool.status().idle, pool.status().retired), (4, 1, 3, 1));
    let lent = pool.get().await.unwrap();
    pool.put(lent);
}

#[tokio::test(start_paused = true)]
async fn predicate_may_call_the_pool() {
    let pool = without_limits().max_size(2).build(Probe::new());
    fill(&pool, 2).await;
    pool.retain(|_| {
        let other = pool.try_get().unwrap();
        assert_eq!(pool.status().in_use, 2);
        pool.put(other);
        true
    });
    assert_eq!(pool.status().idle, 2);
}

#[tokio::test(start_paused = true)]
async fn predicate_that_clears_the_pool_keeps_nothing() {
    let pool = without_limits().max_size(2).build(Probe::new());
    fill(&pool, 2).await;
    pool.retain(|_| {
        pool.clear();
        true
    });
    assert_eq!(pool.status().idle, 0);
}
