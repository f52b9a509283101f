//! L18: failed creations are tried again for their callers until the breaker has reason to open; and a new handle that
//! turns out to be unusable at its first look is a failed creation.

use std::time::Duration;

use reqscope::Error;
use reqscope::pool::Reset;
use reqscope_testkit::{Outcome, Probe, Scripted, Verb};
use tokio::time::{Instant, sleep};

use super::rig::Rig;
use crate::support::{bounded, settle};

const SECOND: Duration = Duration::from_secs(1);
/// "At once", as far as the pause between two attempts allows.
const SOON: Duration = Duration::from_millis(200);
const CALLERS: usize = 64;

/// What a caller does with the handle of a backend that accepts connections and answers nothing.
#[derive(Clone, Copy)]
enum Use {
    /// Its first operation fails, and the adapter knows that the connection is broken.
    Dies,
    /// It returns the handle, and the pool finds out.
    Returns,
    /// It drops the handle.
    Drops,
}

/// Lets 64 callers use the pool in loops for two seconds, and returns the number of connects.
async fn connects_in_two_seconds(rig: &Rig, how: Use) -> u64 {
    rig.probe.on(Verb::Validate).always(Outcome::error().after(Duration::from_millis(1)));
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after(Duration::from_millis(1)));
    let before = rig.probe.on(Verb::Acquire).calls();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let pool = rig.pool.clone();
        callers.push(tokio::spawn(async move {
            let began = Instant::now();
            while began.elapsed() < 2 * SECOND {
                let Ok(mut handle) = pool.get().await else {
                    sleep(Duration::from_millis(1)).await;
                    continue;
                };
                sleep(Duration::from_millis(1)).await;
                match how {
                    Use::Dies => {
                        handle.kill();
                        drop(handle);
                    }
                    Use::Returns => pool.put(handle),
                    Use::Drops => drop(handle),
                }
            }
        }));
    }
    for caller in callers {
        bounded(caller).await.unwrap();
    }
    rig.probe.on(Verb::Acquire).calls() - before
}

/// With the shortest pause of the breaker there are 133 probes in two seconds. A few more begin together at first.
const FEW: u64 = 2_000 / 15 + 20;

/// The fault: each accepted connection closed the breaker, and 64 callers made 2,838 connects in two seconds.
#[tokio::test(start_paused = true)]
async fn backend_whose_handles_die_at_once_gets_few_connects() {
    let rig = Rig::new(10);
    let connects = connects_in_two_seconds(&rig, Use::Dies).await;
    assert!(connects <= FEW, "{connects} connects in 2 s");
    assert!(rig.pool.status().down, "{:?}", rig.pool);
}

/// The same, where the adapter does not know.
#[tokio::test(start_paused = true)]
async fn backend_whose_handles_fail_validation_gets_few_connects() {
    for how in [Use::Returns, Use::Drops] {
        let rig = Rig::configured(Probe::new(), |builder| builder.max_size(10).reset(Reset::Always));
        let connects = connects_in_two_seconds(&rig, how).await;
        assert!(connects <= FEW, "{connects} connects in 2 s");
        assert!(rig.pool.status().down, "{:?}", rig.pool);
    }
}

/// The first look of such a handle is in the check-out of the next caller.
#[tokio::test(start_paused = true)]
async fn backend_whose_dropped_handles_are_unsound_gets_few_connects() {
    let rig = Rig::new(10);
    let connects = connects_in_two_seconds(&rig, Use::Drops).await;
    assert!(connects <= FEW, "{connects} connects in 2 s");
}

/// Kills two new handles in a row, after which a creation includes a validation, and returns the error of the next get.
async fn error_after_two_dead_handles(rig: &Rig) -> Error<Scripted> {
    rig.probe.on(Verb::Validate).always(Outcome::error());
    for _ in 0..2 {
        let mut handle = rig.take().await;
        handle.kill();
        rig.pool.put(handle);
        settle().await;
    }
    bounded(rig.pool.get()).await.unwrap_err()
}

/// The callers get the cause meanwhile, and not only that the backend is down.
#[tokio::test(start_paused = true)]
async fn backend_whose_handles_die_at_once_is_reported_down() {
    let rig = Rig::new(10);
    let error = error_after_two_dead_handles(&rig).await;
    assert!(error.is_unavailable(), "{error}");
    assert!(rig.pool.status().down && rig.pool.status().last_failure.is_some(), "{:?}", rig.pool);
    rig.finish(0).await;
}

/// After two such handles, a creation includes a validation. Its error does not look like one of the caller's own.
#[tokio::test(start_paused = true)]
async fn failed_first_validation_is_named_in_the_error() {
    let rig = Rig::new(10);
    let error = error_after_two_dead_handles(&rig).await;
    assert!(error.to_string().contains("first validation"), "{error}");
    rig.finish(0).await;
}

/// It was used before: that it is dead now says nothing about new ones.
#[tokio::test(start_paused = true)]
async fn killed_handles_that_were_sound_open_nothing() {
    let rig = Rig::new(10);
    rig.fill(5).await;
    for _ in 0..5 {
        let mut handle = rig.take().await;
        handle.kill();
        rig.pool.put(handle);
        settle().await;
    }
    assert!(!rig.pool.status().down && rig.pool.status().last_failure.is_none(), "{:?}", rig.pool);
    let began = Instant::now();
    rig.pool.put(rig.take().await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    rig.finish(0).await;
}

/// A check-out that found it sound is proof as well, although no use of it has ended in order.
#[tokio::test(start_paused = true)]
async fn handles_that_die_after_a_validation_were_sound() {
    let rig = Rig::new(10);
    for _ in 0..2 {
        drop(rig.take().await);
        let mut handle = rig.take().await;
        handle.kill();
        rig.pool.put(handle);
        settle().await;
    }
    rig.pool.put(rig.take().await);
    assert_eq!(rig.probe.on(Verb::Validate).calls(), 2, "the third one was not validated");
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn one_handle_dead_at_its_first_return_opens_nothing() {
    let rig = Rig::new(10);
    let mut handle = rig.take().await;
    handle.kill();
    rig.pool.put(handle);
    settle().await;
    let began = Instant::now();
    rig.pool.put(rig.take().await);
    assert!(began.elapsed() <= SOON, "{:?}", began.elapsed());
    assert!(!rig.pool.status().down, "{:?}", rig.pool);
    rig.finish(0).await;
}

/// A handle that works shows that the backend is well.
#[tokio::test(start_paused = true)]
async fn failures_between_sound_handles_open_nothing() {
    let rig = Rig::new(10);
    for _ in 0..10 {
        let handles = rig.take_all(2).await;
        let [sound, mut dead] = <[_; 2]>::try_from(handles).unwrap();
        dead.kill();
        rig.put_all([dead]);
        settle().await;
        rig.put_all([sound]);
        rig.pool.clear();
        settle().await;
        assert!(!rig.pool.status().down, "{:?}", rig.pool);
    }
    assert_eq!(rig.probe.on(Verb::Validate).calls(), 0, "no two in a row were dead");
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn new_handle_found_sound_saves_the_next_its_validation() {
    let rig = Rig::new(10);
    for _ in 0..2 {
        let mut handle = rig.take().await;
        handle.kill();
        rig.pool.put(handle);
        settle().await;
    }
    let both = rig.take_all(2).await;
    assert_eq!(rig.probe.on(Verb::Validate).calls(), 1);
    rig.put_all(both);
    rig.finish(0).await;
}

/// The fault: one refused connect failed the `get`, and all others for the next 15 to 25 ms.
#[tokio::test(start_paused = true)]
async fn one_refused_connect_is_tried_again_for_its_caller() {
    let rig = Rig::new(10);
    rig.probe.on(Verb::Acquire).next(Outcome::error());
    let began = Instant::now();
    rig.pool.put(rig.take().await);
    assert!(began.elapsed() <= SOON, "{:?}", began.elapsed());
    assert!(!rig.pool.status().down);
    assert_eq!(rig.probe.on(Verb::Acquire).calls(), 2);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn two_refused_connects_fail_no_caller() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(10).create_concurrency(1));
    rig.probe.on(Verb::Acquire).next(Outcome::error().after_polls(1)).next(Outcome::error().after_polls(1));
    let callers: Vec<_> = (0..CALLERS).map(|_| rig.pool.clone()).collect();
    let callers: Vec<_> = callers
        .into_iter()
        .map(|pool| tokio::spawn(async move { pool.get().await.map(|handle| pool.put(handle)) }))
        .collect();
    for caller in callers {
        bounded(caller).await.unwrap().unwrap();
    }
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn permanent_error_is_never_tried_again() {
    let rig = Rig::new(10);
    rig.probe.on(Verb::Acquire).next(Outcome::permanent());
    let began = Instant::now();
    let error = bounded(rig.pool.get()).await.unwrap_err();
    assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
    assert_eq!((began.elapsed(), rig.probe.on(Verb::Acquire).calls()), (Duration::ZERO, 1));
    assert!(rig.pool.status().down);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn callers_fail_at_once_after_three_failures_in_a_row() {
    let rig = Rig::new(10);
    rig.probe.on(Verb::Acquire).always(Outcome::error());
    let began = Instant::now();
    let error = bounded(rig.pool.get()).await.unwrap_err();
    assert!(error.is_unavailable() && error.cause().is_some(), "{error}");
    assert!(began.elapsed() <= SOON, "{:?}", began.elapsed());
    assert_eq!(rig.probe.on(Verb::Acquire).calls(), 3);
    let began = Instant::now();
    for _ in 0..CALLERS {
        assert!(bounded(rig.pool.get()).await.unwrap_err().is_unavailable());
    }
    assert_eq!((began.elapsed(), rig.probe.on(Verb::Acquire).calls()), (Duration::ZERO, 3));
    rig.finish(0).await;
}

/// The attempts take longer than the caller waits.
#[tokio::test(start_paused = true)]
async fn creations_are_tried_again_within_the_deadline_only() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(10).acquire_timeout(SECOND / 2));
    rig.probe.on(Verb::Acquire).always(Outcome::error().after(SECOND / 5));
    let began = Instant::now();
    let error = bounded(rig.pool.get()).await.unwrap_err();
    assert!(began.elapsed() <= SECOND / 2 + Duration::from_millis(2), "{:?}", began.elapsed());
    // Either way the caller learns why nothing was created.
    let why = error.shortage().is_some_and(|shortage| shortage.last_failure.is_some());
    assert!(error.is_unavailable() || why, "{error}");
    assert!(rig.probe.on(Verb::Acquire).calls() >= 2, "it was not tried again");
    rig.finish(0).await;
}

/// A success begins the count again.
#[tokio::test(start_paused = true)]
async fn failures_are_counted_in_a_row_only() {
    let rig = Rig::new(10);
    for _ in 0..5 {
        rig.probe.on(Verb::Acquire).next(Outcome::error()).next(Outcome::error());
        let handle = rig.take().await;
        rig.pool.put(handle);
        assert!(!rig.pool.status().down, "{:?}", rig.pool);
        rig.pool.put(rig.take().await);
        rig.pool.clear();
        settle().await;
    }
    rig.finish(0).await;
}

/// After handles that were unusable at their first look, a creation may include a validation, with a timeout of its own.
#[tokio::test(start_paused = true)]
async fn slow_connect_after_unusable_handles_is_waited_for() {
    let rig = Rig::configured(Probe::new(), |builder| {
        builder.max_size(1).create_timeout(3 * SECOND).validate_timeout(2 * SECOND)
    });
    for _ in 0..2 {
        let mut handle = rig.take().await;
        handle.kill();
        rig.pool.put(handle);
        settle().await;
    }
    rig.probe.on(Verb::Acquire).always(Outcome::ok().after(SECOND * 29 / 10));
    rig.probe.on(Verb::Validate).always(Outcome::ok().after(SECOND * 19 / 10));
    let began = Instant::now();
    let handle = rig.take().await;
    assert!(began.elapsed() <= 5 * SECOND, "{:?}", began.elapsed());
    assert_eq!((handle.id(), rig.probe.counts().released), (2, 2));
    rig.pool.put(handle);
    rig.finish(0).await;
}

#[tokio::test(start_paused = true)]
async fn warm_tries_a_refused_connect_again() {
    let rig = Rig::configured(Probe::new(), |builder| builder.max_size(10).min_idle(3));
    rig.probe.on(Verb::Acquire).next(Outcome::error()).next(Outcome::error());
    bounded(rig.pool.warm()).await.unwrap();
    assert_eq!(rig.pool.status().idle, 3);
    rig.finish(0).await;
}
