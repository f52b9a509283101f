//! Idle objects, so that whoever counts from outside finds their memory.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

use crate::backend::{Ready, Refused};
use crate::contender::{Contender, Settings};

/// Some give back in a task of their own, which nobody can wait for.
const GIVEN_BACK: Duration = Duration::from_millis(300);

/// Leaves a pool behind in which so many objects are idle.
pub(super) async fn objects<C: Contender>(objects: usize) -> anyhow::Result<()> {
    ensure!(C::lends(objects) == objects, "it has no {objects} objects");
    let pool = C::build(Arc::new(Ready::<false>), &Settings::new(objects)).await;
    let mut taken = Vec::with_capacity(objects);
    for _ in 0..objects {
        taken.push(C::get(&pool).await.map_err(Refused::by)?);
    }
    for object in taken {
        C::put(&pool, object);
    }
    sleep(GIVEN_BACK).await;
    mem::forget(pool);
    Ok(())
}
