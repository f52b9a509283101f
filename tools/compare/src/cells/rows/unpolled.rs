use std::pin::pin;

use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

/// As in a `select!` whose other branch asks for the object too, or a stream that buffers its futures.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let first = stage.user(&request);
    {
        let mut first = pin!(first.glance());
        ensure!(poll_once(first.as_mut()).is_pending(), "the first user did not wait");
        settle().await;
        ensure!(stage.seen().running() == 1, "the first user began no acquisition");

        let next = stage.user(&request).spawn();
        settle().await;
        stage.gate.always(Outcome::ok());
        let next = outcome(next).await;
        ensure!(next == Use::Served(0), "the next user {next}");
    }
    drop(first);
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
