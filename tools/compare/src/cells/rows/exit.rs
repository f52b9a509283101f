use reqscope::Exit;
use reqscope_testkit::Outcome;

use crate::cells::cell::LazyCell;
use crate::cells::stage::{Stage, Use};
use crate::faults::steps::{Unmet, ensure};

/// A handler that returned, one that failed, one that was dropped, one that panicked.
pub(super) async fn run<C: LazyCell>() -> Result<(), Unmet> {
    C::passes_exit()?;
    let stage = Stage::<C>::new();
    stage.gate.always(Outcome::ok());
    let exits = [Exit::Completed, Exit::Failed, Exit::Cancelled, Exit::Panicked];
    for (number, exit) in (0..).zip(exits) {
        let request = stage.open();
        let used = stage.caller(&request).glance().await;
        ensure!(used == Use::Served(number), "the caller {used}");
        match exit {
            Exit::Cancelled => drop(request),
            Exit::Panicked => {
                let unwound = tokio::spawn(async move {
                    let _request = request;
                    panic!("the handler panics, as the script says");
                });
                let unwound: Result<(), _> = unwound.await;
                ensure!(unwound.is_err(), "a panic was swallowed");
            }
            _ => C::end(request, exit).await,
        }
        stage.all_back().await?;
    }
    let passed = stage.seen().exits();
    ensure!(passed == exits, "{exits:?} were passed as {passed:?}");
    Ok(())
}
