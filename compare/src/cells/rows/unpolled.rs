use std::pin::pin;

use reqscope::Exit;
use reqscope_testkit::{Outcome, poll_once};

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Flaw, Stage, Use, ensure, outcome, settle};

/// As in a `select!` whose other branch asks for the object too, or a stream that buffers its futures.
pub(super) async fn play<C: LazyCell>() -> Result<(), Flaw> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let first = stage.user(&request);
    {
        let mut first = pin!(first.glance());
        ensure(poll_once(first.as_mut()).is_pending(), || "the first user did not wait".to_owned())?;
        settle().await;
        ensure(stage.seen().running() == 1, || "the first user began no acquisition".to_owned())?;

        let next = stage.user(&request).spawn();
        settle().await;
        stage.gate.always(Outcome::ok());
        let next = outcome(next).await;
        ensure(next == Use::Served(0), || format!("the next user: {next:?}"))?;
    }
    drop(first);
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
