use std::pin::pin;

use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};
use tokio::sync::oneshot;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{PATIENCE, Unmet, ensure};

/// The trap of every lazy getter: a task that the request has spawned still waits, the request ends, and the object
/// comes.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let (leave, left) = oneshot::channel::<()>();
    let user = stage.user(&request);
    // If it gets the object, it works with it until it is told to leave.
    let task = tokio::spawn(async move { user.work(async { drop(left.await) }).await });
    settle().await;
    ensure!(stage.seen().running() == 1, "the user began no acquisition");

    stage.at_arrival(move || {
        // As when a connection is dropped: nobody waits for the end of the end.
        let _ended = poll_once(pin!(C::end(request, Exit::Cancelled)));
    });
    stage.gate.always(Outcome::ok());
    let back = stage.comes(|seen| seen.made() == 1 && seen.all_back().is_ok()).await;
    let seen = stage.seen();

    drop(leave);
    let used = outcome(task).await;
    ensure!(used != Use::Hung, "the task {used}");
    stage.all_back().await?;
    ensure!(seen.made() == 1, "{} objects arrived", seen.made());
    ensure!(back, "{PATIENCE:?} after the end of the request a task of it still had the object");
    Ok(())
}
