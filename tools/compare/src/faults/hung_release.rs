//! Each handle breaks in use, and its release hangs. Every slot must serve again, at the latest after the timeout of
//! the release.

use std::sync::Arc;
use std::time::Duration;

use reqscope_testkit::Outcome;

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, comes_true, take_all};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 2;
const TIMEOUT: Duration = Duration::from_millis(300);

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let slots = C::lends(SLOTS);
    let settings = Settings { timeout: TIMEOUT, ..Settings::new(slots) };
    let pool = Arc::new(C::build(Arc::clone(&backend), &settings).await);
    backend.release.always(Outcome::never());

    for mut guard in take_all::<C, _>(&pool, slots).await? {
        backend.cut(C::id(&mut guard).await);
        C::put(&pool, guard);
    }
    if !comes_true(PATIENCE, || backend.release.calls() > 0).await {
        return Err(Unmet::NotOffered);
    }
    take_all::<C, _>(&pool, slots).await.map(drop)
}
