use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use};
use crate::faults::steps::{PATIENCE, Unmet, ensure};

/// As an audit log in the background that may or may not ask for the connection again.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    stage.gate.always(Outcome::ok());
    let request = stage.open();
    let keeps_it = stage.user(&request);
    let used = keeps_it.glance().await;
    ensure!(used == Use::Served(0), "the task {used}");

    C::end(request, Exit::Completed).await;
    let back = stage.comes(|seen| seen.out() == 0).await;
    drop(keeps_it);
    stage.all_back().await?;
    ensure!(back, "{PATIENCE:?} after the end of the request its object was still out");
    Ok(())
}
