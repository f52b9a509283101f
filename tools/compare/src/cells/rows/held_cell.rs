use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use};
use crate::faults::steps::{PATIENCE, Unmet, ensure};

/// As a background task that may or may not use the connection again, such as an audit log.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    stage.gate.always(Outcome::ok());
    let request = stage.open();
    let holder = stage.caller(&request);
    let used = holder.glance().await;
    ensure!(used == Use::Served(0), "the task {used}");

    C::end(request, Exit::Completed).await;
    let back = stage.comes(|seen| seen.out() == 0).await;
    drop(holder);
    stage.all_back().await?;
    ensure!(back, "{PATIENCE:?} after the end of the request its handle was not released");
    Ok(())
}
