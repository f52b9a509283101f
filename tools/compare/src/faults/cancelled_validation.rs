//! A get is cancelled when it has sent the question of a validation and has not read the answer. The next user of this
//! handle must not read that answer as its own.

use std::sync::Arc;

use reqscope_testkit::Outcome;

use super::scripted::Scripted;
use super::steps::{PATIENCE, Unmet, comes_true, ensure, fill, take};
use crate::contender::{Contender, Settings};

pub(super) async fn run<C: Contender>() -> Result<(), Unmet> {
    let backend = Scripted::new();
    let settings = Settings { validates: true, ..Settings::new(1) };
    let pool = Arc::new(C::build(Arc::clone(&backend), &settings).await);
    fill::<C, _>(&pool, 1).await?;

    backend.validation.close();
    let get = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { C::get(&pool).await.map(drop) }
    });
    if !comes_true(PATIENCE, || backend.validation.waiting() > 0).await {
        return Err(Unmet::NotOffered);
    }
    get.abort();
    ensure!(get.await.is_err(), "a get ends before its validation has");

    backend.validation.always(Outcome::ok());
    let mut guard = take::<C, _>(&pool, PATIENCE).await?;
    let unread = backend.unread(C::id(&mut guard).await);
    ensure!(unread == 0, "the next user gets the same handle, and reads the answer to a ping as its own");
    Ok(())
}
