//! A pool that is resized while it is used.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqscope_testkit::{Outcome, Verb};

use super::rig::Rig;
use crate::support::settle;

/// The size goes from ten to one and back: no handle is lent twice, no more are lent than the size allows once the
/// surplus has ended, and every caller is served.
#[tokio::test(start_paused = true)]
async fn resizing_under_load_loses_no_handle() {
    let rig = Rig::new(10);
    for verb in [Verb::Acquire, Verb::Validate, Verb::Release] {
        rig.probe.on(verb).always(Outcome::ok().after_polls(2));
    }
    let out = Arc::new(Mutex::new(HashSet::new()));
    let users: Vec<_> = (0..40_u64)
        .map(|user| {
            let (pool, out) = (Arc::clone(&rig.pool), Arc::clone(&out));
            tokio::spawn(async move {
                for round in 0..50 {
                    let mut handle = pool.get().await.unwrap();
                    let id = handle.id();
                    assert!(out.lock().insert(id), "{id} is lent twice");
                    handle.taken_by(user);
                    handle.use_once();
                    tokio::time::sleep(Duration::from_millis(1 + user % 3)).await;
                    handle.use_once();
                    if (user + round) % 7 == 0 {
                        handle.kill();
                    }
                    assert!(out.lock().remove(&id));
                    if (user + round) % 3 == 0 { drop(handle) } else { pool.put(handle) }
                }
            })
        })
        .collect();
    for size in [10, 1, 10, 3, 1, 7, 1, 10].into_iter().cycle().take(64) {
        rig.pool.resize(size);
        tokio::time::sleep(Duration::from_millis(3)).await;
        settle().await;
        if size == 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(out.lock().len() <= 1, "{:?}", rig.pool.status());
        }
    }
    for user in users {
        user.await.unwrap();
    }
    rig.pool.resize(10);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn growing_pool_serves_its_waiters_at_once() {
    let rig = Rig::new(1);
    let held = rig.take().await;
    let waiters = [tokio::spawn(rig.waiter()), tokio::spawn(rig.waiter())];
    rig.pool.resize(3);
    for waiter in waiters {
        rig.pool.put(waiter.await.unwrap().unwrap());
    }
    rig.pool.put(held);
    rig.finish(0).await;
}

/// A handle that is being released still occupies its slot.
#[tokio::test(start_paused = true)]
async fn shrunk_pool_creates_nothing_until_the_surplus_ended() {
    let rig = Rig::new(3);
    let all = rig.take_all(3).await;
    rig.pool.resize(1);
    rig.probe.on(Verb::Release).close();
    all.into_iter().for_each(|mut handle| {
        handle.kill();
        rig.pool.put(handle);
    });
    let waiter = tokio::spawn(rig.waiter());
    settle().await;
    assert_eq!(rig.counts(), [0, 0, 0, 3, 1]);
    rig.probe.on(Verb::Release).ok().ok();
    settle().await;
    assert_eq!(rig.counts(), [0, 0, 0, 1, 1]);
    rig.probe.on(Verb::Release).ok();
    rig.pool.put(waiter.await.unwrap().unwrap());
    rig.finish(0).await;
}
