use std::time::Duration;

use reqscope::Exit;
use reqscope_testkit::Outcome;
use tokio::time::timeout;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use};
use crate::faults::steps::{Unmet, ensure};

const ACQUISITION: Duration = Duration::from_millis(300);
const BUDGET: Duration = Duration::from_millis(60);
const CALLERS: usize = 20;

/// A backend that takes a little longer than each caller waits.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    stage.gate.always(Outcome::ok().after(ACQUISITION));
    let request = stage.open();
    let mut served = 0;
    for _ in 0..CALLERS {
        let caller = stage.caller(&request);
        if let Ok(Use::Served(_)) = timeout(BUDGET, caller.glance()).await {
            served += 1;
        }
    }
    let begun = stage.seen().begun();
    ensure!(served > 0, "0 of {CALLERS} callers were served, {begun} acquisitions were begun");
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
