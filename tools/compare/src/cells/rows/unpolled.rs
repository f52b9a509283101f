use std::pin::pin;

use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

/// As in a `select!` whose other branch uses the cell too, or in a stream that buffers its futures.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let first = stage.caller(&request);
    {
        let mut first = pin!(first.glance());
        ensure!(poll_once(first.as_mut()).is_pending(), "the first caller did not wait");
        settle().await;
        ensure!(stage.seen().running() == 1, "the first caller began no acquisition");

        let next = stage.caller(&request).spawn();
        settle().await;
        stage.gate.always(Outcome::ok());
        let next = outcome(next).await;
        ensure!(next == Use::Served(0), "the next caller {next}");
    }
    drop(first);
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
