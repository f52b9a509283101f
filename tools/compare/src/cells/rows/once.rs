use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use, outcome, settle};
use crate::faults::steps::{Unmet, ensure};

const USERS: usize = 8;

pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let users: Vec<_> = (0..USERS).map(|_| stage.user(&request).spawn()).collect();
    settle().await;
    stage.gate.always(Outcome::ok());
    for user in users {
        let used = outcome(user).await;
        ensure!(used == Use::Served(0), "one of {USERS} users {used}");
    }
    let seen = stage.seen();
    ensure!(seen.begun() == 1, "{} acquisitions", seen.begun());
    ensure!(seen.out() == 1, "the object was gone before the request ended");
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
