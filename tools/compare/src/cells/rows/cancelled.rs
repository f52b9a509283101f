use std::pin::pin;

use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    {
        let first = stage.caller(&request);
        let first = pin!(first.glance());
        ensure!(poll_once(first).is_pending(), "the first caller did not wait");
        settle().await;
        ensure!(stage.seen().running() == 1, "the first caller began no acquisition");
    }
    let next = stage.caller(&request).spawn();
    settle().await;
    stage.gate.always(Outcome::ok());
    let next = outcome(next).await;
    ensure!(matches!(next, Use::Served(_)), "the next caller {next}");
    settle().await;
    let seen = stage.seen();
    ensure!(seen.peak() == 1, "{} acquisitions at the same time", seen.peak());
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
