use std::pin::pin;

use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};
use tokio::sync::oneshot;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{PATIENCE, Unmet, ensure};

/// The hard case of every lazy getter: a task of the request still waits, the request ends, and then the handle
/// arrives.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let (leave, left) = oneshot::channel::<()>();
    let caller = stage.caller(&request);
    // If it receives the handle, it uses it until the end of the script.
    let task = tokio::spawn(async move { caller.work(async { drop(left.await) }).await });
    settle().await;
    ensure!(stage.seen().running() == 1, "the caller began no acquisition");

    stage.at_arrival(move || {
        // As if the connection is dropped: the end of the request is not awaited.
        let _ended = poll_once(pin!(C::end(request, Exit::Cancelled)));
    });
    stage.gate.always(Outcome::ok());
    let back = stage.comes(|seen| seen.made() == 1 && seen.all_back().is_ok()).await;
    let seen = stage.seen();

    drop(leave);
    let used = outcome(task).await;
    ensure!(used != Use::Hung, "the task {used}");
    stage.all_back().await?;
    ensure!(seen.made() == 1, "{} handles arrived", seen.made());
    ensure!(back, "{PATIENCE:?} after the end of the request a task of it still had the handle");
    Ok(())
}
