//! L14: what was left in doubt reaches nobody before it was proved.
//!
//! Seen by counting inside: if the resource had exactly one handle, and the second user got one though nothing was
//! acquired and nothing validated in between, then it was that one.

use reqscope::{Exit, Health, Resource};

use super::report::Verdict;
use super::trial::{Bench, Trial};
use crate::outcome::Outcome;
use crate::probe::Verb;

/// After `Cancelled` and `Panicked`, and after `Completed` where a look at the handle does not say `Ready`.
pub(super) async fn a_doubtful_handle_is_proved<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for (exit, health) in
        [(Exit::Cancelled, Health::Ready), (Exit::Panicked, Health::Ready), (Exit::Completed, Health::Unknown)]
    {
        let trial =
            bench.trial(format!("a handle given back as {exit} while its probe says {health:?}, then acquire"));
        trial.probe.set_health(health);
        let handle = trial.acquire().await?;
        let validated = trial.inside().validated;
        trial.release(handle, exit).await?;
        the_next_user_gets_another(&trial, "nobody had validated it", || trial.inside().validated == validated)
            .await?;
        trial.end().await?;
    }
    Ok(())
}

/// A handle that could not be proved.
pub(super) async fn a_handle_that_fails_its_proof_is_not_reused<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let trial = bench.trial("a handle given back as cancelled whose validate fails, then acquire");
    let handle = trial.acquire().await?;
    trial.probe.on(Verb::Validate).always(Outcome::error());
    trial.release(handle, Exit::Cancelled).await?;
    the_next_user_gets_another(&trial, "its validate had failed", || true).await?;
    trial.end().await
}

/// A handle that is dead, however well its use ended.
pub(super) async fn a_dead_handle_is_not_reused<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let trial = bench.trial("a handle that died in use and was given back as completed, then acquire");
    let handle = trial.acquire().await?;
    trial.probe.kill_all();
    trial.release(handle, Exit::Completed).await?;
    the_next_user_gets_another(&trial, "it was dead", || true).await?;
    trial.end().await
}

/// The second user. An error is an answer, too: a resource may refuse rather than doubt.
async fn the_next_user_gets_another<R: Resource>(
    trial: &Trial<R>,
    but: &str,
    unproved: impl FnOnce() -> bool,
) -> Verdict {
    let before = trial.inside();
    let answer = trial.within("the second acquire", trial.outside.acquire()).await?;
    let Ok(handle) = answer else { return Ok(()) };
    let same = before.acquired == 1 && before.live() == 1 && trial.inside().acquired == 1;
    trial.expect(!(same && unproved()), format!("the second user got the same handle, and {but}"))?;
    trial.probe.on(Verb::Validate).always(Outcome::ok());
    trial.release(handle, Exit::Completed).await
}
