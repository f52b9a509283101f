//! Timeouts at their extremes mean what they say: zero is at once, the largest practically never (L12).

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::pool::{PoolBuilder, Reset};
use reqscope::wrap::RetryPolicy;
use reqscope::{Error, Exit, Lease, Pool, Reaper, Resource, ResourceExt, Scopes, resource_fn};
use reqscope_testkit::{Probe, Verb, expect_panic, poll_once};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::support::{Server, get_now, real_time_runtime};

/// Longer than any test, shorter than [`Duration::MAX`].
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs an operation that hangs, with a timeout of zero and with the largest one.
async fn hangs<T>(operation: impl AsyncFn(Duration) -> T) {
    let began = Instant::now();
    operation(Duration::ZERO).await;
    assert!(began.elapsed() < Duration::from_secs(1), "zero took {:?}", began.elapsed());
    let mut longest = pin!(operation(Duration::MAX));
    assert!(poll_once(longest.as_mut()).is_pending());
    advance(YEAR).await;
    assert!(poll_once(longest.as_mut()).is_pending());
}

fn hanging(verb: Verb) -> Probe {
    let probe = Probe::new();
    probe.on(verb).never();
    probe
}

#[tokio::test(start_paused = true)]
async fn acquire_timeout_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let server = Server::configured(hanging(Verb::Acquire), |builder| builder.acquire_timeout(limit));
        let scope = server.scopes.open();
        assert!(scope.lazy(&server.probe).get().await.is_err_and(|error| error.is_timeout()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lend_timeout_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let server = Server::configured(Probe::new(), |builder| builder.lend_timeout(limit));
        let scope = server.scopes.open();
        let _guard = get_now(&scope.lazy(&server.probe));
        assert!(scope.lazy(&server.probe).get().await.is_err_and(|error| error.is_timeout()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn close_timeout_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let server = Server::configured(hanging(Verb::Release).settling(), |builder| builder.close_timeout(limit));
        let scope = server.scopes.open();
        drop(get_now(&scope.lazy(&server.probe)));
        assert!(scope.close(Exit::Completed).await.is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn release_timeout_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let reaper = Reaper::builder().release_timeout(limit).build();
        let lease = Lease::acquire_in(&reaper, &Arc::new(hanging(Verb::Release))).await.unwrap();
        assert!(Lease::complete(lease).await.is_err_and(|error| error.is_timeout()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn drain_timeout_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let scopes = Scopes::new();
        let _scope = scopes.open();
        assert!(!scopes.drain(limit).await.is_clean());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn limits_of_the_wrappers_are_kept_at_their_extremes() {
    hangs(async |limit| {
        let bounded = Arc::new(hanging(Verb::Acquire).timeout(limit));
        let reaper = Reaper::builder().acquire_timeout(Duration::MAX).build();
        assert!(Lease::acquire_in(&reaper, &bounded).await.is_err_and(|error| error.is_timeout()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pool_timeouts_are_kept_at_their_extremes() {
    hangs(async |limit| {
        let pool = Pool::builder().max_size(1).acquire_timeout(limit).build(Probe::new());
        let _handle = pool.get().await;
        assert!(pool.get().await.is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pool_of_the_largest_size_works() {
    let longest = Duration::MAX;
    let pool = Pool::builder()
        .max_size(usize::MAX)
        .max_waiters(usize::MAX)
        .acquire_timeout(longest)
        .max_lifetime(longest)
        .idle_timeout(longest)
        .build(Probe::new());
    let handles = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    drop(handles);
    advance(YEAR).await;
    drop(pool.get().await.unwrap());
    assert_eq!(pool.status().max_size, usize::MAX);
}

/// Retries without a pause until a deadline. The fault: each poll of the acquisition used up the budget of tokio's
/// cooperation, so its deadline was never looked at, and the attempts went on without end.
#[test]
fn endless_retries_without_a_pause_end_at_the_deadline() {
    let policy = RetryPolicy::new().attempts(u32::MAX).first_pause(Duration::ZERO);
    let refused = resource_fn(|| async { Err::<(), _>(Error::<Infallible>::unavailable()) }).retry(policy);
    let reaper = Reaper::builder().acquire_timeout(Duration::from_millis(50)).build();
    real_time_runtime().block_on(async {
        let outcome = timeout(Duration::from_secs(60), Lease::acquire_in(&reaper, &Arc::new(refused))).await;
        assert!(outcome.expect("the deadline is kept").is_err_and(|error| error.is_timeout()));
    });
}

/// The same for a driver that is always ready: it uses up the budget in each poll.
#[test]
fn acquisition_that_is_always_busy_ends_at_the_deadline() {
    let busy = resource_fn(|| async {
        loop {
            tokio::task::coop::consume_budget().await;
        }
        #[expect(unreachable_code, reason = "names the types")]
        Ok::<(), Error<Infallible>>(())
    });
    let reaper = Reaper::builder().acquire_timeout(Duration::from_millis(50)).build();
    real_time_runtime().block_on(async {
        let outcome = timeout(Duration::from_secs(60), Lease::acquire_in(&reaper, &Arc::new(busy))).await;
        assert!(outcome.expect("the deadline is kept").is_err_and(|error| error.is_timeout()));
    });
}

#[tokio::test(start_paused = true)]
async fn task_timeout_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let server = Server::configured(Probe::new(), |builder| builder.task_timeout(limit));
        let scope = server.scopes.open();
        scope.handle().on_completed(std::future::pending()).unwrap();
        scope.close(Exit::Completed).await.unwrap();
        server.scopes.drain(Duration::MAX).await;
        assert_eq!(server.stats().tasks_failed, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn validation_and_release_of_a_timeout_keep_their_extremes() {
    hangs(async |limit| {
        let bounded = hanging(Verb::Validate).timeout(Duration::MAX).validate_within(limit);
        let mut handle = bounded.acquire().await.unwrap();
        let error = bounded.validate(&mut handle).await.unwrap_err();
        assert_eq!((error.is_timeout(), error.stage()), (true, Some(Stage::Validating)));
    })
    .await;
    hangs(async |limit| {
        let bounded = Arc::new(hanging(Verb::Release).timeout(Duration::MAX).release_within(limit));
        let reaper = Reaper::builder().release_timeout(Duration::MAX).build();
        let lease = Lease::acquire_in(&reaper, &bounded).await.unwrap();
        let error = Lease::complete(lease).await.unwrap_err();
        assert_eq!((error.is_timeout(), error.stage()), (true, Some(Stage::Releasing)));
    })
    .await;
}

/// Zero is no pause, and the longest pause is not the longest wait: the deadline of the acquisition is kept in it.
#[tokio::test(start_paused = true)]
async fn pauses_of_retries_are_kept_at_their_extremes() {
    let failing = || resource_fn(|| async { Err::<(), _>(Error::<Infallible>::unavailable()) });
    hangs(async |pause| {
        let policy = RetryPolicy::new().attempts(2).first_pause(pause).longest_pause(pause);
        let reaper = Reaper::builder().acquire_timeout(Duration::MAX).build();
        let error = Lease::acquire_in(&reaper, &Arc::new(failing().retry(policy))).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    })
    .await;
    for attempts in [0, 1] {
        let policy = RetryPolicy::new().attempts(attempts);
        let error = Lease::acquire(&Arc::new(failing().retry(policy))).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn create_timeout_of_a_pool_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let pool = Pool::builder().create_timeout(limit).acquire_timeout(Duration::MAX).build(hanging(Verb::Acquire));
        assert!(pool.get().await.is_err_and(|error| error.is_unavailable() || error.is_timeout()));
        let status = pool.status();
        assert_eq!((status.creating, status.create_failed, status.down), (0, 1, true));
    })
    .await;
}

/// A validation without time is a handle that counts as dead.
#[tokio::test(start_paused = true)]
async fn validate_timeout_of_a_pool_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let pool = Pool::builder()
            .max_size(1)
            .reset(Reset::Always)
            .validate_timeout(limit)
            .acquire_timeout(Duration::MAX)
            .build(hanging(Verb::Validate));
        let handle = pool.get().await.unwrap();
        pool.put(handle);
        drop(pool.get().await.unwrap());
        assert_eq!(pool.status().unsound, 1);
    })
    .await;
}

/// A release without time is a handle that is dropped, and its slot is free.
#[tokio::test(start_paused = true)]
async fn release_timeout_of_a_pool_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let pool = Pool::builder()
            .max_size(1)
            .max_uses(1)
            .release_timeout(limit)
            .acquire_timeout(Duration::MAX)
            .build(hanging(Verb::Release));
        let handle = pool.get().await.unwrap();
        pool.put(handle);
        drop(pool.get().await.unwrap());
        assert_eq!((pool.status().created, pool.status().retired), (2, 1));
    })
    .await;
}

/// Uses two handles of the pool three times, and lets time pass. Returns how many handles were created, and how often one
/// was validated.
async fn age(configure: impl FnOnce(PoolBuilder<Probe>) -> PoolBuilder<Probe>) -> (u64, u64) {
    let probe = Probe::new();
    let longest = Pool::builder().max_size(2).max_lifetime(None).idle_timeout(None).validate_after(Duration::MAX);
    let pool = configure(longest).build(probe.clone());
    for _ in 0..3 {
        let handles = [pool.get().await.unwrap(), pool.get().await.unwrap()];
        sleep(Duration::from_millis(500)).await;
        handles.into_iter().for_each(|handle| pool.put(handle));
        sleep(Duration::from_millis(500)).await;
    }
    sleep(Duration::from_secs(60)).await;
    let status = pool.status();
    assert!(status.in_use + status.idle + status.creating + status.ending <= 2, "{status:?}");
    (status.created, probe.counts().validated)
}

#[tokio::test(start_paused = true)]
async fn ages_of_pooled_handles_are_kept_at_their_extremes() {
    let longest = Duration::MAX;
    assert_eq!(age(|pool| pool.max_lifetime(longest).idle_timeout(longest).keepalive(longest)).await, (2, 0));
    assert_eq!(age(|pool| pool.validate_after(longest).max_uses(u32::MAX)).await, (2, 0));
    // Retired after each use, or in the pause after it. A handle that is too old when it arrives is validated first.
    assert_eq!(age(|pool| pool.max_uses(1)).await, (6, 0));
    assert_eq!(age(|pool| pool.idle_timeout(Duration::ZERO)).await, (6, 0));
    assert_eq!(age(|pool| pool.max_lifetime(Duration::ZERO)).await, (6, 6));
    // Validated at each check-out, or in each round of the janitor: ten times a second, one handle at a time.
    assert_eq!(age(|pool| pool.validate_after(Duration::ZERO)).await, (2, 6));
    let (created, validated) = age(|pool| pool.keepalive(Duration::ZERO)).await;
    assert_eq!(created, 2);
    assert!((100..1_000).contains(&validated), "{validated} validations in a minute");
}

/// Reported once for each use, whatever the limit.
#[tokio::test(start_paused = true)]
async fn leak_after_is_kept_at_its_extremes() {
    for (limit, reported) in [(Duration::ZERO, 1), (Duration::MAX, 0)] {
        let pool = Pool::builder().leak_after(limit).build(Probe::new());
        let handle = pool.get().await.unwrap();
        sleep(Duration::from_secs(600)).await;
        assert_eq!(pool.status().held_too_long, reported, "{limit:?}");
        pool.put(handle);
    }
}

#[tokio::test(start_paused = true)]
async fn min_idle_above_the_size_counts_as_the_size() {
    for (least, idle) in [(0, 1), (1, 1), (3, 3), (usize::MAX, 3)] {
        let pool = Pool::builder().max_size(3).min_idle(least).create_concurrency(usize::MAX).build(Probe::new());
        pool.warm().await.unwrap();
        sleep(Duration::from_secs(60)).await;
        assert_eq!((pool.status().idle, pool.status().created), (idle, idle as u64), "min_idle {least}");
    }
}

/// Without waiters, a caller that finds no handle fails at once; the creation of a handle is no such wait.
#[tokio::test(start_paused = true)]
async fn pool_without_waiters_refuses_callers_at_once() {
    let pool = Pool::builder().max_size(1).max_waiters(0).build(Probe::new());
    let handle = pool.get().await.unwrap();
    let began = Instant::now();
    assert!(pool.get().await.is_err_and(|error| error.is_exhausted()));
    assert_eq!(began.elapsed(), Duration::ZERO);
    pool.put(handle);
    drop(pool.get().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn pool_without_slots_cannot_be_built() {
    let message = expect_panic(|| drop(Pool::<Probe>::builder().max_size(0)));
    assert!(message.contains("at least 1"), "{message}");
    let pool = Pool::builder().max_size(1).build(Probe::new());
    let message = expect_panic(|| pool.resize(0));
    assert!(message.contains("at least 1"), "{message}");
    pool.resize(usize::MAX);
    let _handles = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    assert_eq!(pool.status().max_size, usize::MAX);
}

#[tokio::test(start_paused = true)]
async fn close_of_a_pool_is_kept_at_its_extremes() {
    hangs(async |limit| {
        let pool = Pool::builder().build(Probe::new());
        let _handle = pool.get().await.unwrap();
        assert!(!pool.close(limit).await.is_clean());
    })
    .await;
}
