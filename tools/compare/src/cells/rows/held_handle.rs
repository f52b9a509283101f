use reqscope::Exit;
use reqscope_testkit::Outcome;
use tokio::sync::oneshot;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    stage.gate.always(Outcome::ok());
    let request = stage.open();
    let (leave, left) = oneshot::channel::<()>();
    let caller = stage.caller(&request);
    let task = tokio::spawn(async move { caller.work(async { drop(left.await) }).await });
    ensure!(stage.comes(|seen| seen.made() == 1).await, "the task was not served");
    settle().await;

    C::end(request, Exit::Completed).await;
    settle().await;
    let seen = stage.seen();
    ensure!(seen.out() == 1 && seen.exits().is_empty(), "released while the task used it: {seen:?}");

    let sent = leave.send(());
    ensure!(sent.is_ok(), "the task lost its handle");
    let used = outcome(task).await;
    ensure!(used == Use::Served(0), "the task {used}");
    stage.all_back().await
}
