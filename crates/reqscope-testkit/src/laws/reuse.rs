//! L14: a handle in doubt is validated before it is reused.
//!
//! The suite counts inside: if the resource had exactly one handle, and the second user got one though nothing was
//! acquired or validated in between, then it was the same handle.

use reqscope::{Exit, Health, Resource};

use super::fixture::{Fixture, Setup};
use super::report::{Breach, Verdict};
use crate::outcome::Outcome;
use crate::probe::Verb;

/// What to do about a dropped handle that reaches the next user as it is.
const ONLY_CLEAN: &str = "validate a handle that was dropped, unless its `probe` returns `Clean`: `Ready` says what a \
                          completed use leaves, not what one leaves that was dropped";

/// Releases as `Cancelled`, as `Panicked`, and as `Completed` where the handle's health is neither `Clean` nor `Ready`.
pub(super) async fn handle_in_doubt_is_validated<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for (exit, health) in [
        (Exit::Cancelled, Health::Ready),
        (Exit::Panicked, Health::Ready),
        (Exit::Completed, Health::Unknown),
        (Exit::Completed, Health::Dirty),
    ] {
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

/// Drops a handle without a release, so that it is unknown how far its use came. Only `Clean` is proof of what is left.
pub(super) async fn dropped_handle_is_validated_unless_clean<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for health in [Health::Ready, Health::Unknown, Health::Dirty, Health::Clean] {
        let fixture = setup.fixture(format!("a handle dropped while its probe says {health:?}, then acquire"));
        fixture.probe.set_health(health);
        let handle = fixture.acquire().await?;
        let validated = fixture.inside().validated;
        drop(handle.into_inner());
        let in_doubt = || health != Health::Clean && fixture.inside().validated == validated;
        let next = next_user_gets_another_handle(&fixture, "it was not validated", in_doubt).await;
        next.map_err(|breach: Breach| breach.advise(ONLY_CLEAN))?;
        fixture.end_with_abandoned(1).await?;
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
