//! What the callers of a pool notice while its backend is down, and how soon they notice that it is back.
//!
//! Real sockets: the backend and an independent client run on a thread of their own, the pool and its callers on two
//! others. In each round the backend is stopped, refuses connections for about a third of a second, and serves again.
//! Nothing is judged here.

mod backend;
mod callers;
mod log;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqscope::Pool;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use backend::{Backend, connect, ping};
use callers::{Connections, call, watch_timer};
use log::{Log, Outage, Seen};

/// Who ask all the time.
const CALLERS: usize = 64;
/// How long the backend is down, and by how much longer at most: a restart may come at any time between two probes.
const DOWN: Duration = Duration::from_millis(300);
const DOWN_SPREAD: Duration = Duration::from_millis(50);
/// How long it serves after a restart, from the first good answer on.
const UP: Duration = Duration::from_millis(200);
/// Between two looks, of the independent client and of whoever here waits for something.
const SHORT: Duration = Duration::from_millis(1);
/// Nothing that is waited for here may take longer.
const BOUND: Duration = Duration::from_secs(10);

/// Stops it and starts it again, so many times, and prints what was seen.
pub(crate) fn run(restarts: usize) -> anyhow::Result<()> {
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let here = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seen = here.block_on(watch(restarts, elsewhere.handle()))?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

async fn watch(restarts: usize, elsewhere: &Handle) -> anyhow::Result<Seen> {
    let mut backend = Backend::start(elsewhere.clone())?;
    let log = Arc::new(Log::default());
    let connections = Connections { address: backend.address, log: Arc::clone(&log) };
    let pool = Arc::new(Pool::builder().acquire_timeout(BOUND).build(connections));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(Arc::clone(&pool), Arc::clone(&log)));
    }
    callers.spawn(watch_timer(Arc::clone(&log)));
    sleep(UP).await;

    let (mut outages, mut delays) = (Vec::new(), Vec::new());
    for _ in 0..restarts {
        backend.stop().await;
        until(|| pool.status().down.then_some(())).await.context("the pool does not notice")?;
        let open = Instant::now();
        sleep(DOWN + DOWN_SPREAD.mul_f64(fastrand::f64())).await;
        let independent = elsewhere.spawn(first_success(backend.address));
        let back = Instant::now();
        backend.restart()?;
        let good = until(|| log.first_good_since(back)).await.context("the pool does not come back")?;
        outages.push(Outage { open, back });
        delays.push(good.saturating_duration_since(independent.await?));
        sleep(UP).await;
    }

    log.close();
    while let Some(ended) = timeout(BOUND, callers.join_next()).await.context("a caller hangs")? {
        ended?;
    }
    let drained = pool.close(BOUND).await;
    ensure!(drained.is_clean(), "something is held for ever: {drained:?}");
    Ok(log.sum_up(&outages, &delays))
}

/// Looks again and again.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
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

/// When somebody who needs no pool has had an answer.
async fn first_success(address: SocketAddr) -> Instant {
    let answer = async || ping(&mut connect(address).await?).await;
    while answer().await.is_err() {
        sleep(SHORT).await;
    }
    Instant::now()
}
