//! A guard is dropped on a plain thread, with a working handle and with a broken one, and then the pool. Another pool
//! and its guard are dropped after their runtime has ended. No drop may panic, the slot must serve, and no handle may
//! be left.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::time::sleep;

use super::scripted::Scripted;
use super::steps::{ARRIVAL, PATIENCE, Unmet, comes_true, ensure, message, take};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 2;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    for min_idle in [0, SLOTS] {
        let settings = Settings { min_idle, ..Settings::new(SLOTS) };
        on_a_plain_thread::<C>(&settings).await?;
        after_its_runtime::<C>(&settings).await?;
    }
    Ok(())
}

async fn on_a_plain_thread<C: Contender>(settings: &Settings) -> Result<(), Unmet> {
    let backend = Scripted::new();
    let pool = Arc::new(C::build(Arc::clone(&backend), settings).await);
    for breaks in [false, true] {
        let mut guard = take::<C, _>(&pool, PATIENCE).await?;
        let state = if breaks {
            backend.cut(C::id(&mut guard).await);
            "a broken handle"
        } else {
            "a guard"
        };
        outside(&format!("{state} dropped on a plain thread"), move || drop(guard)).await?;
    }
    let guard = take::<C, _>(&pool, PATIENCE).await?;
    drop(guard);
    outside("a pool dropped on a plain thread", move || drop(pool)).await?;
    ensure!(comes_true(PATIENCE, || backend.alive() == 0).await, "{} handles are left", backend.alive());
    Ok(())
}

async fn after_its_runtime<C: Contender>(settings: &Settings) -> Result<(), Unmet> {
    let backend = Scripted::new();
    let (pool, guard) = survive::<C>(&backend, settings.clone()).await?;
    outside("a guard dropped after its runtime", move || drop(guard)).await?;
    outside("a pool dropped after its runtime", move || drop(pool)).await?;
    ensure!(comes_true(PATIENCE, || backend.alive() == 0).await, "{} handles are left", backend.alive());
    Ok(())
}

type Survivors<C> = (Arc<<C as Contender>::Pool<Scripted>>, <C as Contender>::Guard<Scripted>);

/// Returns a pool whose runtime has ended, with one handle lent and one idle, if it can have two.
async fn survive<C: Contender>(backend: &Arc<Scripted>, settings: Settings) -> Result<Survivors<C>, Unmet> {
    let backend = Arc::clone(backend);
    let survivors = outside("the end of a runtime", move || {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Unmet::saw)?;
        let survivors = runtime.block_on(async {
            let pool = Arc::new(C::build(backend, &settings).await);
            let guard = take::<C, _>(&pool, PATIENCE).await?;
            if C::lends(settings.size) > 1 {
                let idle = take::<C, _>(&pool, PATIENCE).await?;
                C::put(&pool, idle);
                sleep(ARRIVAL).await;
            }
            Ok(Survivors::<C>::from((pool, guard)))
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
        survivors
    });
    survivors.await?
}

/// Runs something on a thread without a runtime.
async fn outside<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> Result<T, Unmet> {
    let thread = thread::spawn(act);
    ensure!(comes_true(4 * PATIENCE, || thread.is_finished()).await, "hangs: {what}");
    thread.join().map_err(|panic| Unmet::saw(format_args!("{what} panics: {}", message(panic))))
}
