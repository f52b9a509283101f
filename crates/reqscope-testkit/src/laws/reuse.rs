//! L14: a handle in doubt is validated before it is reused.
//!
//! The suite counts inside: if the resource had exactly one handle, and the second user got one though nothing was
//! acquired or validated in between, then it was the same handle.

use reqscope::{Exit, Health, Resource};

use super::fixture::{Fixture, Setup};
use super::report::Verdict;
use crate::outcome::Outcome;
use crate::probe::Verb;

/// Releases as `Cancelled`, as `Panicked`, and as `Completed` where the handle's health is not `Ready`.
pub(super) async fn handle_in_doubt_is_validated<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for (exit, health) in
        [(Exit::Cancelled, Health::Ready), (Exit::Panicked, Health::Ready), (Exit::Completed, Health::Unknown)]
    {
        let fixture =
            setup.fixture(format!("a handle released as {exit} while its probe says {health:?}, then acquire"));
        fixture.probe.set_health(health);
        let handle = fixture.acquire().await?;
        let validated = fixture.inside().validated;
        fixture.release(handle, exit).await?;
        next_user_gets_another_handle(&fixture, "it was not validated", || fixture.inside().validated == validated)
            .await?;
        fixture.end().await?;
    }
    Ok(())
}

/// Releases a handle that cannot be validated.
pub(super) async fn handle_that_fails_validation_is_not_reused<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a handle released as cancelled whose validate fails, then acquire");
    let handle = fixture.acquire().await?;
    fixture.probe.on(Verb::Validate).always(Outcome::error());
    fixture.release(handle, Exit::Cancelled).await?;
    next_user_gets_another_handle(&fixture, "its validate had failed", || true).await?;
    fixture.end().await
}

/// Releases a dead handle as `Completed`.
pub(super) async fn dead_handle_is_not_reused<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a handle that died in use and was released as completed, then acquire");
    let handle = fixture.acquire().await?;
    fixture.probe.kill_all();
    fixture.release(handle, Exit::Completed).await?;
    next_user_gets_another_handle(&fixture, "it was dead", || true).await?;
    fixture.end().await
}

/// Acquires for a second user. An error is fine, too: a resource may fail instead.
async fn next_user_gets_another_handle<R: Resource>(
    fixture: &Fixture<'_, R>,
    but: &str,
    not_validated: impl FnOnce() -> bool,
) -> Verdict {
    let before = fixture.inside();
    let answer = fixture.within("the second acquire", fixture.resource.acquire()).await?;
    let Ok(handle) = answer else { return Ok(()) };
    let same = before.acquired == 1 && before.live() == 1 && fixture.inside().acquired == 1;
    fixture.expect(!(same && not_validated()), format!("the second user got the same handle, and {but}"))?;
    fixture.probe.on(Verb::Validate).always(Outcome::ok());
    fixture.release(handle, Exit::Completed).await
}
