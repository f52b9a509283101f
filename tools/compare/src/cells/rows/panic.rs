use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let first = stage.user(&request).spawn();
    settle().await;
    let beside = stage.user(&request).spawn();
    settle().await;
    stage.gate.panic().always(Outcome::ok());

    // Whoever was there may hear of it in any way, as long as he hears of it.
    for (who, there) in [("who began it", first), ("who waited beside", beside)] {
        let there = outcome(there).await;
        ensure!(there != Use::Hung, "{who} {there}");
    }
    // Whoever comes later may be refused once, in order.
    let next = outcome(stage.user(&request).spawn()).await;
    ensure!(matches!(next, Use::Served(_) | Use::Refused(_)), "the next user {next}");
    let later = outcome(stage.user(&request).spawn()).await;
    ensure!(matches!(later, Use::Served(_)), "a later user {later}");
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
