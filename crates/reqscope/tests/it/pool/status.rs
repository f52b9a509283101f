//! The name, the status and the holders of a pool.

use std::any::type_name;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;

use reqscope_testkit::{Outcome, Probe, Verb, poll_once};

use super::aging::{ROUND, SECOND, pass, without_limits};
use crate::support::settle;

#[tokio::test(start_paused = true)]
async fn named_pool_shows_its_name_in_errors() {
    let pool = without_limits().name("orders").max_size(1).acquire_timeout(SECOND).build(Probe::new());
    let handle = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert!(error.to_string().contains("waiting for a handle of Pool<Probe>: pool orders: 1 of 1 in use"), "{error}");
    assert_eq!(error.shortage().unwrap().name.as_deref(), Some("orders"));
    assert!(format!("{pool:?}").contains("name: \"orders\""), "{pool:?}");
    pool.put(handle);
    assert_eq!(without_limits().build(Probe::new()).status().name, type_name::<Probe>());
}

#[tokio::test(start_paused = true)]
async fn status_counts_all_events() {
    let probe = Probe::new();
    let pool = Arc::new(without_limits().max_size(1).acquire_timeout(SECOND).build(probe.clone()));
    probe.on(Verb::Acquire).next(Outcome::permanent());
    pool.get().await.unwrap_err();
    pass(SECOND).await;
    let mut handle = pool.get().await.unwrap();
    assert!(pool.get().await.unwrap_err().is_timeout());
    handle.kill();
    pool.put(handle);
    settle().await;
    let handle = pool.get().await.unwrap();
    pool.put(handle);
    let status = pool.status();
    assert_eq!((status.create_failed, status.created, status.retired, status.unsound), (1, 2, 1, 1));
    assert_eq!((status.waits, status.timeouts, status.uses), (4, 1, 2));
}

/// After a crowd, the next check-out joins the queue before it looks for an idle handle.
#[tokio::test(start_paused = true)]
async fn check_out_of_an_idle_handle_after_a_crowd_is_no_wait() {
    let pool = without_limits().max_size(1).build(Probe::new());
    let only = pool.get().await.unwrap();
    let mut waiter = pin!(pool.get());
    assert!(poll_once(waiter.as_mut()).is_pending());
    pool.put(only);
    pool.put(waiter.await.unwrap());
    assert!(poll_once(pin!(pool.get())).is_ready());
    // The creation, and the waiter.
    assert_eq!(pool.status().waits, 2);
}

#[tokio::test(start_paused = true)]
async fn holders_are_listed_with_their_lines_oldest_first() {
    let pool = without_limits().build(Probe::new());
    let (first, line) = (pool.get().await.unwrap(), line!());
    pass(5 * SECOND).await;
    let second = pool.get().await.unwrap();
    pass(5 * SECOND).await;
    let holders = pool.holders();
    assert_eq!((holders.len(), holders[0].taken_at.line()), (2, line));
    assert_eq!(holders[0].taken_at.file(), Location::caller().file());
    for (holder, held) in holders.iter().zip([10 * SECOND, 5 * SECOND]) {
        assert!((held - ROUND..=held + ROUND).contains(&holder.held), "{holder:?}");
    }
    pool.put(second);
    pool.put(first);
    assert!(pool.holders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn timeout_names_the_oldest_holder_whichever_slot_it_has() {
    let pool = without_limits().max_size(2).acquire_timeout(SECOND).build(Probe::new());
    let other = pool.get().await.unwrap();
    pass(SECOND).await;
    let (oldest, line) = (pool.get().await.unwrap(), line!());
    pool.put(other);
    pass(SECOND).await;
    let latest = pool.get().await.unwrap();
    let error = pool.get().await.unwrap_err();
    assert_eq!(error.shortage().unwrap().oldest.as_ref().unwrap().taken_at.line(), line);
    pool.put(latest);
    pool.put(oldest);
}
