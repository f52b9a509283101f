//! The size goes from 10 to 1 to 10, repeatedly while all handles are lent, and once under load. Once surplus handles
//! are returned, the pool must never lend more handles than there are slots, nor fewer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, comes_true, ensure, take, take_all};
use crate::backend::Refused;
use crate::contender::{Contender, Settings};

const SIZE: usize = 10;
const TIMES: usize = 5;
/// So many handles are no accident.
const MANY: usize = 20 * SIZE;
const TASKS: usize = 30;
/// How long a use takes.
const USE: Duration = Duration::from_millis(1);
/// How long the most lent handles are observed.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    while_all_are_out::<C>().await?;
    under_load::<C>().await
}

async fn while_all_are_out<C: Contender>() -> Result<(), Unmet> {
    let pool = Arc::new(C::build(Scripted::new(), &Settings::new(SIZE)).await);
    C::resize(&pool, SIZE).await?;
    let mut guards = take_all::<C, _>(&pool, SIZE).await?;
    for _ in 0..TIMES {
        C::resize(&pool, 1).await?;
        C::resize(&pool, SIZE).await?;
        while let Ok(guard) = take::<C, _>(&pool, LOOK).await {
            guards.push(guard);
            ensure!(guards.len() < MANY, "{} lent by a pool of {SIZE}, and more would follow", guards.len());
        }
    }
    ensure!(guards.len() == SIZE, "{} lent by a pool of {SIZE}", guards.len());
    for guard in guards {
        C::put(&pool, guard);
    }
    Ok(())
}

/// How many handles are lent, and the most since the last observation.
#[derive(Default)]
struct Lent {
    now: AtomicUsize,
    most: AtomicUsize,
    enough: AtomicBool,
}

impl Lent {
    async fn most_from_now_on(&self) -> usize {
        self.most.store(0, Ordering::SeqCst);
        sleep(LOOK).await;
        self.most.load(Ordering::SeqCst)
    }
}

async fn under_load<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(SIZE)).await);
    let out = Arc::new(Lent::default());
    let mut tasks: JoinSet<_> = (0..TASKS).map(|_| load::<C>(Arc::clone(&pool), Arc::clone(&out))).collect();

    let at_ten = out.most_from_now_on().await;
    ensure!(at_ten <= SIZE, "{at_ten} lent by a pool of {SIZE}, under load");
    C::resize(&pool, 1).await?;
    let settled = || out.now.load(Ordering::SeqCst) <= 1 && backend.alive() <= 1;
    comes_true(PATIENCE, settled).await;
    let at_one = out.most_from_now_on().await;
    ensure!(at_one <= 1, "{at_one} lent by a pool of 1, {PATIENCE:?} after it was made smaller");
    C::resize(&pool, SIZE).await?;
    let at_ten = out.most_from_now_on().await;
    ensure!(at_ten <= SIZE, "{at_ten} lent by a pool of {SIZE}, under load");

    out.enough.store(true, Ordering::SeqCst);
    while let Some(ended) = timeout(PATIENCE, tasks.join_next()).await.map_err(|_| Unmet::saw("hangs: a get waits"))? {
        ended.map_err(Unmet::saw)?.map_err(Unmet::saw)?;
    }
    let guards = take_all::<C, _>(&pool, SIZE).await?;
    let one_more = take::<C, _>(&pool, LOOK).await.is_ok();
    ensure!(!one_more, "{} lent by a pool of {SIZE}", guards.len() + 1);
    Ok(())
}

async fn load<C: Contender>(pool: Arc<C::Pool<Scripted>>, out: Arc<Lent>) -> Result<(), crate::backend::Refused> {
    while !out.enough.load(Ordering::SeqCst) {
        let guard = C::get(&pool).await.map_err(Refused::by)?;
        let now = out.now.fetch_add(1, Ordering::SeqCst) + 1;
        out.most.fetch_max(now, Ordering::SeqCst);
        sleep(USE).await;
        out.now.fetch_sub(1, Ordering::SeqCst);
        C::put(&pool, guard);
    }
    Ok(())
}
