//! L14: what was left in doubt reaches nobody before it was proved.
//!
//! Seen by counting inside: if the resource had exactly one handle, and the second user got one though nothing was
//! acquired and nothing validated in between, then it was that one.

use reqscope::{Exit, Health, Resource};

use super::fixture::{Fixture, Setup};
use super::report::Verdict;
use crate::outcome::Outcome;
use crate::probe::Verb;

/// After `Cancelled` and `Panicked`, and after `Completed` where a look at the handle does not say `Ready`.
pub(super) async fn a_doubtful_handle_is_proved<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for (exit, health) in
        [(Exit::Cancelled, Health::Ready), (Exit::Panicked, Health::Ready), (Exit::Completed, Health::Unknown)]
    {
        let fixture =
            setup.fixture(format!("a handle given back as {exit} while its probe says {health:?}, then acquire"));
        fixture.probe.set_health(health);
        let handle = fixture.acquire().await?;
        let validated = fixture.inside().validated;
        fixture.release(handle, exit).await?;
        the_next_user_gets_another(&fixture, "nobody had validated it", || fixture.inside().validated == validated)
            .await?;
        fixture.end().await?;
    }
    Ok(())
}

/// A handle that could not be proved.
pub(super) async fn a_handle_that_fails_its_proof_is_not_reused<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a handle given back as cancelled whose validate fails, then acquire");
    let handle = fixture.acquire().await?;
    fixture.probe.on(Verb::Validate).always(Outcome::error());
    fixture.release(handle, Exit::Cancelled).await?;
    the_next_user_gets_another(&fixture, "its validate had failed", || true).await?;
    fixture.end().await
}

/// A handle that is dead, however well its use ended.
pub(super) async fn a_dead_handle_is_not_reused<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a handle that died in use and was given back as completed, then acquire");
    let handle = fixture.acquire().await?;
    fixture.probe.kill_all();
    fixture.release(handle, Exit::Completed).await?;
    the_next_user_gets_another(&fixture, "it was dead", || true).await?;
    fixture.end().await
}

/// The second user. An error is an answer, too: a resource may refuse rather than doubt.
async fn the_next_user_gets_another<R: Resource>(
    fixture: &Fixture<R>,
    but: &str,
    unproved: impl FnOnce() -> bool,
) -> Verdict {
    let before = fixture.inside();
    let answer = fixture.within("the second acquire", fixture.resource.acquire()).await?;
    let Ok(handle) = answer else { return Ok(()) };
    let same = before.acquired == 1 && before.live() == 1 && fixture.inside().acquired == 1;
    fixture.expect(!(same && unproved()), format!("the second user got the same handle, and {but}"))?;
    fixture.probe.on(Verb::Validate).always(Outcome::ok());
    fixture.release(handle, Exit::Completed).await
}
