//! A server that is frozen for a while: measures whether every caller of a pool has an answer at its deadline.
//!
//! Each question has a deadline of its own, both that to the pool for a connection and that to the server. The answers
//! that came at the deadline are the figures; most other questions were refused at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqscope::Pool;
use reqscope_mysql::MySql;
use reqscope_records::bench::FrozenRun;
use reqscope_testkit::MariaDb;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::outage::callers::{PAUSE, watch_timer};
use crate::outage::log::percentiles;
use crate::outage::{Ask, BOUND, CALLERS, Log, until};

/// The deadline of each question.
const DEADLINE: Duration = Duration::from_secs(1);
const FROZEN: Duration = Duration::from_secs(3);
/// How long the server runs before each freeze.
const UP: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 10;

/// Freezes the server so many times, and prints what the callers saw.
pub(super) fn run(freezes: usize) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{}", serde_json::to_string(&runtime.block_on(measure(freezes))?)?);
    Ok(())
}

async fn measure(freezes: usize) -> anyhow::Result<FrozenRun> {
    let server = MariaDb::start().await?;
    let mysql = MySql::builder(&server.url())?.connect_timeout(DEADLINE).operation_timeout(DEADLINE).build();
    let pool = Arc::new(Pool::builder().max_size(CONNECTIONS).acquire_timeout(DEADLINE).build(mysql));
    let log = Arc::new(Log::default());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(Arc::clone(&pool), Arc::clone(&log)));
    }
    callers.spawn(watch_timer(Arc::clone(&log)));

    let mut answers = Vec::new();
    for _ in 0..freezes {
        sleep(UP).await;
        let frozen = Instant::now();
        server.freeze()?;
        sleep(FROZEN).await;
        let thawed = Instant::now();
        server.thaw()?;
        until(|| log.first_success_since(thawed)).await.context("the pool does not come back")?;
        // Afterwards all questions from before have an answer.
        sleep(2 * DEADLINE).await;
        answers.extend(log.waited_between(frozen, thawed));
    }

    log.close();
    while let Some(ended) = timeout(BOUND, callers.join_next()).await.context("a caller hangs")? {
        ended?;
    }
    let drained = pool.close(BOUND).await;
    ensure!(drained.is_clean(), "something was not released: {drained:?}");

    let late: Vec<Duration> = answers.iter().filter_map(|(_, took)| took.checked_sub(DEADLINE)).collect();
    let [late_p50, late_p99, late_longest] = percentiles(&late);
    let [lag_p50, lag_p99, lag_longest] = log.lags();
    Ok(FrozenRun {
        callers: CALLERS as u64,
        connections: CONNECTIONS as u64,
        freezes: freezes as u64,
        deadline: u64::try_from(DEADLINE.as_nanos())?,
        answers: answers.len() as u64,
        late: late.len() as u64,
        late_p50,
        late_p99,
        late_longest,
        lag_p50,
        lag_p99,
        lag_longest,
    })
}

/// Runs one caller, which asks again and again, and logs both of its questions.
async fn call(pool: Arc<Pool<MySql>>, log: Arc<Log>) {
    sleep(PAUSE.mul_f64(fastrand::f64())).await;
    while !log.is_closed() {
        let asked = Instant::now();
        let answer = pool.get().await;
        log.answer(asked, asked.elapsed());
        if let Ok(mut conn) = answer {
            let asked = Instant::now();
            let answered = MySql::ask(&mut conn).await;
            log.answer(asked, asked.elapsed());
            if answered {
                log.success();
                pool.put(conn);
            }
        }
        sleep(PAUSE).await;
    }
}
