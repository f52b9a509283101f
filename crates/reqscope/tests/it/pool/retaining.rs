//! A predicate of a user looks at what is idle.

use reqscope_testkit::Probe;

use super::aging::{ageless, fill, ids};
use crate::support::settle;

#[tokio::test(start_paused = true)]
async fn retain_releases_rejected_idle_handles_only() {
    let pool = ageless().build(Probe::new());
    fill(&pool, 4).await;
    let object = pool.get().await.unwrap();
    let mut asked = 0;
    let retired = pool.retain(|handle| {
        asked += 1;
        assert_ne!(handle.id(), object.id());
        handle.id() % 2 == 1
    });
    settle().await;
    assert_eq!((asked, pool.status().idle + retired), (3, 3));
    assert_eq!(pool.status().retired, retired as u64);
    pool.put(object);
}

#[tokio::test(start_paused = true)]
async fn retained_handles_keep_their_order() {
    let pool = ageless().build(Probe::new());
    fill(&pool, 4).await;
    let object = pool.get().await.unwrap();
    let last = object.id();
    pool.put(object);
    let before = ids(&pool);
    assert_eq!(ids(&pool), before);
    assert_eq!(pool.get().await.map(|object| object.id()).unwrap(), last);
}

#[tokio::test(start_paused = true)]
async fn panicking_predicate_costs_one_handle() {
    let pool = ageless().build(Probe::new());
    fill(&pool, 4).await;
    let mut asked = 0;
    let retired = pool.retain(|_| {
        asked += 1;
        assert_ne!(asked, 2, "on purpose");
        true
    });
    settle().await;
    assert_eq!((asked, retired, pool.status().idle, pool.status().retired), (4, 1, 3, 1));
    let object = pool.get().await.unwrap();
    pool.put(object);
}

#[tokio::test(start_paused = true)]
async fn predicate_may_call_the_pool() {
    let pool = ageless().max_size(2).build(Probe::new());
    fill(&pool, 2).await;
    pool.retain(|_| {
        let other = pool.try_get().unwrap();
        assert_eq!(pool.status().in_use, 2);
        pool.put(other);
        true
    });
    assert_eq!(pool.status().idle, 2);
}
