//! A user panics in the middle of an operation, and the handle knows that it was cut. The guard is dropped while
//! unwinding. The slot must serve with a handle that works.

use std::sync::Arc;

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, comes_true, ensure, take, take_all};
use crate::contender::{Contender, Settings};

const SLOTS: usize = 4;

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let slots = C::lends(SLOTS);
    let pool = Arc::new(C::build(Arc::clone(&backend), &Settings::new(slots)).await);
    for _ in 0..slots {
        let mut guard = take::<C, _>(&pool, PATIENCE).await?;
        backend.cut(C::id(&mut guard).await);
        let user = tokio::spawn(async move {
            let _guard = guard;
            panic!("a user that panics");
        });
        ensure!(user.await.is_err_and(|error| error.is_panic()), "the user's panic is swallowed");
    }
    let mut guards = take_all::<C, _>(&pool, slots).await?;
    let mut cut = 0;
    for guard in &mut guards {
        cut += usize::from(backend.is_cut(C::id(guard).await));
    }
    ensure!(cut == 0, "{cut} of {slots} handles whose operation was cut are lent to the next user");
    let at_most = || backend.alive() <= slots;
    ensure!(comes_true(PATIENCE, at_most).await, "{} handles for {slots} slots", backend.alive());
    Ok(())
}
