//! Measures what the callers of a pool notice while its backend is down, and how soon they notice that it is back.
//!
//! The sockets are real: the backend and an independent client run on a thread of their own, the pool and its callers
//! on two others. In each round the backend is stopped, refuses connections for a while, and serves again. Nothing is
//! judged here.

mod backend;
pub(crate) mod callers;
mod echo;
pub(crate) mod log;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqscope::Pool;
use reqscope_records::bench::OutageRun;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use backend::{Backend, Client};
pub(crate) use callers::Ask;
use callers::{call, watch_timer};
use echo::{Connections, Echo};
pub(crate) use log::Log;
use log::Outage;

/// How many callers ask all the time.
pub(crate) const CALLERS: usize = 64;
/// How long the backend serves after a restart, from the first answer on.
const UP: Duration = Duration::from_millis(200);
/// The time between two attempts of the independent client, and between two checks of a condition.
pub(crate) const SHORT: Duration = Duration::from_millis(1);
/// The most that anything here may take.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// Stops and restarts an echo server so many times, and prints what the callers saw.
pub(crate) fn run(restarts: usize) -> anyhow::Result<()> {
    apart(async |elsewhere| {
        let backend = Echo::start(elsewhere.clone())?;
        let log = Arc::new(Log::default());
        let connections = Connections { address: backend.address, log: Arc::clone(&log) };
        let pool = Pool::builder().acquire_timeout(BOUND).build(connections);
        watch(restarts, elsewhere, backend, pool, log).await
    })
}

/// Runs the measurement on threads of its own, passes it the runtime of the backend, and prints the result.
pub(crate) fn apart(watch: impl AsyncFnOnce(&Handle) -> anyhow::Result<OutageRun>) -> anyhow::Result<()> {
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let here = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seen = here.block_on(watch(elsewhere.handle()))?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

/// Stops and restarts the backend so many times.
pub(crate) async fn watch<B: Backend>(
    restarts: usize,
    elsewhere: &Handle,
    mut backend: B,
    pool: Pool<B::Connections>,
    log: Arc<Log>,
) -> anyhow::Result<OutageRun> {
    let pool = Arc::new(pool);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(Arc::clone(&pool), Arc::clone(&log)));
    }
    callers.spawn(watch_timer(Arc::clone(&log)));
    sleep(UP).await;

    let (mut outages, mut delays) = (Vec::new(), Vec::new());
    for _ in 0..restarts {
        backend.stop().await?;
        until(|| pool.status().down.then_some(())).await.context("the pool does not notice")?;
        let open = Instant::now();
        sleep(B::DOWN + B::DOWN_SPREAD.mul_f64(fastrand::f64())).await;
        let independent = elsewhere.spawn(first_success(backend.client()));
        let back = Instant::now();
        backend.restart().await?;
        let success = until(|| log.first_success_since(back)).await.context("the pool does not come back")?;
        outages.push(Outage { open, back });
        delays.push(success.saturating_duration_since(independent.await?));
        sleep(UP).await;
    }

    log.close();
    while let Some(ended) = timeout(BOUND, callers.join_next()).await.context("a caller hangs")? {
        ended?;
    }
    let drained = pool.close(BOUND).await;
    ensure!(drained.is_clean(), "something was not released: {drained:?}");
    Ok(log.sum_up(&outages, &delays))
}

/// Waits until `look` returns something.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let looking = async {
        loop {
            match look() {
                Some(seen) => return seen,
                None => sleep(SHORT).await,
            }
        }
    };
    timeout(BOUND, looking).await.context("it takes too long")
}

/// Waits until a client without a pool has had an answer, and returns when that was.
async fn first_success(client: impl Client) -> Instant {
    while !client.is_answered().await {
        sleep(SHORT).await;
    }
    Instant::now()
}
