use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let first = stage.caller(&request).spawn();
    settle().await;
    let beside = stage.caller(&request).spawn();
    settle().await;
    stage.gate.panic().always(Outcome::ok());

    // Callers that wait may notice the panic in any way, as long as they notice it.
    for (name, caller) in [("the first caller", first), ("the second caller", beside)] {
        let used = outcome(caller).await;
        ensure!(used != Use::Hung, "{name} {used}");
    }
    // The next caller may receive an error.
    let next = outcome(stage.caller(&request).spawn()).await;
    ensure!(matches!(next, Use::Served(_) | Use::Refused(_)), "the next caller {next}");
    let later = outcome(stage.caller(&request).spawn()).await;
    ensure!(matches!(later, Use::Served(_)), "a later caller {later}");
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
