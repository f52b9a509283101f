use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

const CALLERS: usize = 8;

pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let callers: Vec<_> = (0..CALLERS).map(|_| stage.caller(&request).spawn()).collect();
    settle().await;
    stage.gate.always(Outcome::ok());
    for caller in callers {
        let used = outcome(caller).await;
        ensure!(used == Use::Served(0), "one of {CALLERS} callers {used}");
    }
    let seen = stage.seen();
    ensure!(seen.begun() == 1, "{} acquisitions", seen.begun());
    ensure!(seen.out() == 1, "the handle was dropped before the request ended");
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
