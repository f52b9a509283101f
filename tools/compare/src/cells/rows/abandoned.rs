use std::pin::pin;

use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, settle};
use crate::faults::steps::{Unmet, ensure};

/// As if the client hangs up.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    {
        let only = stage.caller(&request);
        let only = pin!(only.glance());
        ensure!(poll_once(only).is_pending(), "the caller did not wait");
        settle().await;
        ensure!(stage.seen().running() == 1, "the caller began no acquisition");
    }
    C::end(request, Exit::Cancelled).await;
    stage.gate.always(Outcome::ok());
    stage.all_back().await
}
