use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Flaw, Stage, Use, ensure, outcome, settle};

const USERS: usize = 8;

pub(super) async fn play<C: LazyCell>() -> Result<(), Flaw> {
    let stage = Stage::<C>::new();
    let request = stage.open();
    let users: Vec<_> = (0..USERS).map(|_| stage.user(&request).spawn()).collect();
    settle().await;
    stage.gate.always(Outcome::ok());
    for user in users {
        let used = outcome(user).await;
        ensure(used == Use::Served(0), || format!("one of {USERS} users: {used:?}"))?;
    }
    let seen = stage.seen();
    ensure(seen.begun() == 1, || format!("{} acquisitions", seen.begun()))?;
    ensure(seen.out() == 1, || "the object was gone before the request ended".to_owned())?;
    C::end(request, Exit::Completed).await;
    stage.all_back().await
}
