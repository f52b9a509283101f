//! Leaks idle handles, so that valgrind finds their memory.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

use crate::backend::{CONTENDED, Ready, Refused};
use crate::contender::{Contender, Settings};

/// Some contenders return handles in a task of their own, which cannot be awaited.
const GIVEN_BACK: Duration = Duration::from_millis(300);

/// Leaks a pool with so many idle handles.
pub(super) async fn handles<C: Contender>(handles: usize) -> anyhow::Result<()> {
    ensure!(C::lends(handles) == handles, "it does not lend {handles} handles");
    let pool = C::build(Arc::new(Ready::<CONTENDED>), &Settings::new(handles)).await;
    let mut taken = Vec::with_capacity(handles);
    for _ in 0..handles {
        taken.push(C::get(&pool).await.map_err(Refused::by)?);
    }
    for guard in taken {
        C::put(&pool, guard);
    }
    sleep(GIVEN_BACK).await;
    mem::forget(pool);
    Ok(())
}
