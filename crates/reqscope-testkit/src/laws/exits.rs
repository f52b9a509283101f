//! The exit that is passed to `release`, and that the handle is not used afterwards.

use std::future::Future;

use reqscope::{Exit, Guard, Lease, Resource, Scope, Scopes};

use super::counting::Counting;
use super::fixture::{EXITS, Fixture, Setup, yield_a_few_times};
use super::report::{Breach, Verdict};
use super::unwind::while_unwinding;
use crate::records::HandleState;

/// L8: after the close no `get` succeeds, and a lent handle stays with its user.
pub(super) async fn lent_handle_outlives_its_scope<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a scope closed while a guard is alive");
    let scopes = Scopes::new();
    let scope = scopes.open();
    let lazy = scope.lazy(&fixture.resource);
    let guard = fixture.get(&lazy).await?;
    // The close fails if the resource settles.
    drop(fixture.within("close", scope.close(Exit::Completed)).await?);
    yield_a_few_times().await;
    fixture
        .expect(fixture.resource.records.record(0).exits.is_empty(), "the handle was released while it was lent")?;
    let answer = fixture.within("get", lazy.get()).await?;
    fixture.expect(answer.is_err_and(|error| error.is_closed()), "a get was served after the close")?;
    fixture.expect(lazy.try_get().is_err(), "a try_get was served after the close")?;
    drop(guard);
    let exits = fixture.exits(&scopes).await?;
    fixture.expect(exits == [Exit::Cancelled], format!("the lent handle was released as {exits:?}"))?;
    fixture
        .expect(fixture.resource.records.record(0).state != HandleState::Abandoned, "the lent handle was dropped")?;
    drop(lazy);
    fixture.end().await
}

/// L9: the exit of the scope is passed to the handle's release.
pub(super) async fn scope_passes_on_the_exit<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for exit in EXITS {
        let case = format!("a scope closed as {exit}");
        scope_ends(&setup, case, exit, async |scope| drop(scope.close(exit).await)).await?;
    }
    scope_ends(&setup, "a close whose future is dropped at once", Exit::Completed, async |scope| {
        drop(scope.close(Exit::Completed));
    })
    .await?;
    scope_ends(&setup, "a scope marked as failed and closed as completed", Exit::Failed, async |scope| {
        scope.handle().mark_failed();
        drop(scope.close(Exit::Completed).await);
    })
    .await?;
    scope_ends(&setup, "a scope dropped", Exit::Cancelled, async |scope| drop(scope)).await?;
    scope_ends(&setup, "a scope dropped while unwinding", Exit::Panicked, async |scope| while_unwinding(scope)).await
}

/// L9: a guard that was dropped by a panic spoils the verdict, though the panic was caught.
pub(super) async fn panic_under_a_guard_is_sticky<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a guard dropped while unwinding, then a scope closed as completed");
    let scopes = Scopes::new();
    let scope = scopes.open();
    while_unwinding(fixture.get(&scope.lazy(&fixture.resource)).await?);
    drop(fixture.within("close", scope.close(Exit::Completed)).await?);
    let exits = fixture.exits(&scopes).await?;
    fixture.expect(
        matches!(exits[..], [exit] if exit >= Exit::Failed),
        format!("the handle was released as {exits:?}"),
    )?;
    fixture.end().await
}

/// L9: the same for a lease, acquired by itself or detached from a scope.
pub(super) async fn lease_passes_on_the_exit<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for detached in [false, true] {
        let kind = if detached { "a detached lease" } else { "a lease" };
        for exit in EXITS {
            let case = format!("{kind} ended as {exit}");
            lease_ends(&setup, case, detached, exit, async |lease| drop(Lease::end(lease, exit).await)).await?;
        }
        let at_once = async |lease| drop(Lease::complete(lease));
        lease_ends(&setup, format!("{kind} completed, the future dropped"), detached, Exit::Completed, at_once)
            .await?;
        let dropped = async |lease| drop(lease);
        lease_ends(&setup, format!("{kind} dropped"), detached, Exit::Cancelled, dropped).await?;
        let unwound = async |lease| while_unwinding(lease);
        lease_ends(&setup, format!("{kind} dropped while unwinding"), detached, Exit::Panicked, unwound).await?;
    }
    Ok(())
}

async fn scope_ends<R: Resource, F: Future<Output = ()>>(
    setup: &Setup<'_, R>,
    case: impl Into<String>,
    expected: Exit,
    end: impl Fn(Scope) -> F,
) -> Verdict {
    let fixture = setup.fixture(case);
    let scopes = Scopes::new();
    let scope = scopes.open();
    drop(fixture.get(&scope.lazy(&fixture.resource)).await?);
    fixture.within("the end of the scope", end(scope)).await?;
    expect_exit(fixture, &scopes, expected).await
}

async fn lease_ends<R: Resource, F: Future<Output = ()>>(
    setup: &Setup<'_, R>,
    case: impl Into<String>,
    detached: bool,
    expected: Exit,
    end: impl Fn(Lease<Counting<R>>) -> F,
) -> Verdict {
    let fixture = setup.fixture(case);
    let scopes = Scopes::new();
    let lease = lease(&fixture, &scopes, detached).await?;
    fixture.within("the end of the lease", end(lease)).await?;
    expect_exit(fixture, &scopes, expected).await
}

async fn lease<R: Resource>(
    fixture: &Fixture<'_, R>,
    scopes: &Scopes,
    detached: bool,
) -> Result<Lease<Counting<R>>, Breach> {
    if detached {
        let scope = scopes.open();
        let guard = fixture.get(&scope.lazy(&fixture.resource)).await?;
        let lease = Guard::detach(guard);
        fixture.success("close", fixture.within("close", scope.close(Exit::Failed)).await?)?;
        return Ok(lease);
    }
    let acquired = Lease::acquire_in(scopes.reaper(), &fixture.resource);
    fixture.success("Lease::acquire", fixture.within("Lease::acquire", acquired).await?)
}

async fn expect_exit<R: Resource>(fixture: Fixture<'_, R>, scopes: &Scopes, expected: Exit) -> Verdict {
    let exits = fixture.exits(scopes).await?;
    fixture.expect(exits == [expected], format!("the handle was released as {exits:?} instead of [{expected:?}]"))?;
    fixture.end().await
}
