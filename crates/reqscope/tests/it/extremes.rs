//! Timeouts at their extremes mean what they say: zero is at once, the largest practically never (L12).

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use reqscope::wrap::RetryPolicy;
use reqscope::{Error, Exit, Lease, Pool, Reaper, ResourceExt, Scopes, resource_fn};
use reqscope_testkit::{Probe, Verb, poll_once};
use tokio::time::{Instant, advance, timeout};

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
