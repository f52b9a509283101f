use std::time::Duration;

use reqscope::Exit;
use reqscope_testkit::Outcome;
use tokio::time::timeout;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use};
use crate::faults::steps::{Unmet, ensure};

const ACQUISITION: Duration = Duration::from_millis(300);
const BUDGET: Duration = Duration::from_millis(60);
const USERS: usize = 20;

/// A backend that is slower than each user's budget, but not by much.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    stage.gate.always(Outcome::ok().after(ACQUISITION));
    let request = stage.open();
    let mut served = 0;
    for _ in 0..USERS {
        let user = stage.user(&request);
        if let Ok(Use::Served(_)) = timeout(BUDGET, user.glance()).await {
            served += 1;
        }
    }
    let begun = stage.seen().begun();
    ensure!(served > 0, "0 of {USERS} users were served, {begun} acquisitions were begun");
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
