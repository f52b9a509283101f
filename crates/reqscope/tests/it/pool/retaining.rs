//! A predicate of a user looks at what is idle.

use reqscope_testkit::Probe;

use super::rounds::{ageless, fill, ids};
use crate::support::settle;

#[tokio::test(start_paused = true)]
async fn what_does_not_please_goes_and_what_is_out_is_not_asked() {
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
async fn those_that_please_lie_as_before() {
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
async fn a_predicate_that_panics_costs_the_object_that_it_saw_and_nothing_else() {
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
async fn a_predicate_may_ask_the_pool_itself() {
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
