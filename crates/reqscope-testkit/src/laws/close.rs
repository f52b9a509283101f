//! Closes scopes that hold several handles, and drains the server.

use std::sync::Arc;
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::{Exit, Lease, Resource, Scopes};

use super::fixture::Setup;
use super::limits::{BOUND, MOST_POLLS};
use super::report::Verdict;
use crate::outcome::Outcome;
use crate::probe::{Probe, Verb};
use crate::records::HandleState;

/// Short, so that the suite is quick. Only what hangs waits for it.
const DEADLINE: Duration = Duration::from_millis(50);

/// L10: settling handles are released first, each kind in reverse order; one that fails or panics stops no other.
pub(super) async fn handles_are_released_in_order<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for settles in [false, true] {
        let case = "a scope with five resources, of which one fails and one panics in its release";
        let fixture = if settles { setup.settling_fixture(case) } else { setup.fixture(case) };
        let others = Probe::with_records(Arc::clone(&fixture.resource.records));
        let fails = others.sibling().settling();
        fails.on(Verb::Release).error();
        let panics = others.sibling();
        panics.on(Verb::Release).panic();
        let [first, fails, panics, last] = [others.sibling(), fails, panics, others.sibling()].map(Arc::new);

        let scopes = Scopes::new();
        let scope = scopes.open();
        let probed = async |probe| fixture.success("get", scope.lazy(probe).get().await).map(drop);
        probed(&first).await?;
        probed(&fails).await?;
        drop(fixture.get(&scope.lazy(&fixture.resource)).await?);
        probed(&panics).await?;
        probed(&last).await?;
        let closed = fixture.within("close", scope.close(Exit::Completed)).await?;
        fixture.expect(
            closed.is_err_and(|error| error.problems().len() == 1),
            "the failed settling release was not the one problem that was reported",
        )?;
        fixture.drained(&scopes).await?;

        let order: Vec<u64> = fixture.resource.records.releases().iter().map(|release| release.handle).collect();
        let expected = match fixture.resource.settles(Exit::Completed) {
            true => [2, 1, 4, 3, 0],
            false => [1, 4, 3, 2, 0],
        };
        fixture.expect(
            order == expected,
            format!("acquired as 0 1 2 3 4, released as {order:?} instead of {expected:?}"),
        )?;
        fixture.end().await?;
    }
    Ok(())
}

/// L10: a release that hangs holds up no other.
pub(super) async fn hung_release_holds_up_no_other<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a scope with two resources, of which the other one hangs in its release");
    let scopes = Scopes::builder().close_timeout(2 * BOUND).build();
    let scope = scopes.open();
    let hangs = Arc::new(Probe::new());
    hangs.on(Verb::Release).never();
    drop(fixture.get(&scope.lazy(&fixture.resource)).await?);
    drop(fixture.success("get", scope.lazy(&hangs).get().await)?);
    fixture.success("close", fixture.within("close", scope.close(Exit::Completed)).await?)?;
    fixture.until("the handle was not released", || fixture.counts().live() == 0).await?;
    fixture.end().await
}

/// L11: a settling close that is cancelled, at every await in turn, settles all the same.
pub(super) async fn cancelled_close_settles_all_the_same<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.settling_fixture(format!("a settling close cancelled at poll {polls}"));
        let scopes = Scopes::new();
        let scope = scopes.open();
        drop(fixture.get(&scope.lazy(&fixture.resource)).await?);
        let closed = fixture.cut("close", polls, scope.close(Exit::Completed)).await?;
        if let Some(closed) = &closed {
            fixture.expect(closed.is_ok(), "a close that was not cancelled failed")?;
            let state = fixture.resource.records.record(0).state;
            fixture.expect(state == HandleState::Released, "the close had ended before the release")?;
        }
        let exits = fixture.exits(&scopes).await?;
        fixture.expect(exits == [Exit::Completed], format!("the handle was released as {exits:?}"))?;
        fixture.end().await?;
        if closed.is_some() {
            break;
        }
    }
    Ok(())
}

/// L11: a close fails if a settling release fails, and if a settling handle is still lent.
pub(super) async fn failed_settle_fails_the_close<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let fixture = setup.settling_fixture(format!("a settling release that {outcome}"));
        let scopes = Scopes::new();
        let scope = scopes.open();
        drop(fixture.get(&scope.lazy(&fixture.resource)).await?);
        fixture.resource.before_release.next(outcome);
        let closed = fixture.within("close", scope.close(Exit::Completed)).await?;
        fixture.expect(closed.is_err(), "the close was a success")?;
        fixture.drained(&scopes).await?;
        fixture.end().await?;
    }
    let fixture = setup.settling_fixture("a scope closed while its settling handle is lent");
    let scopes = Scopes::new();
    let scope = scopes.open();
    let guard = fixture.get(&scope.lazy(&fixture.resource)).await?;
    let closed = fixture.within("close", scope.close(Exit::Completed)).await?;
    fixture.expect(closed.is_err(), "the close was a success")?;
    drop(guard);
    let exits = fixture.exits(&scopes).await?;
    fixture.expect(exits == [Exit::Cancelled], format!("the handle was released as {exits:?}"))?;
    fixture.end().await
}

/// L12: an acquisition that hangs ends by its deadline, and leaves nothing behind.
pub(super) async fn hung_acquire_ends<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for inside in [false, true] {
        let fixture = setup.fixture("an acquire that never ends");
        if inside {
            fixture.probe.on(Verb::Acquire).never();
        } else {
            fixture.resource.before_acquire.never();
        }
        let scopes = Scopes::builder().acquire_timeout(DEADLINE).build();
        let scope = scopes.open();
        let lazy = scope.lazy(&fixture.resource);
        let answer = fixture.within("get", lazy.get()).await?;
        if !inside {
            let timed_out = answer.as_ref().is_err_and(|error| {
                error.is_timeout() && matches!(error.stage(), Some(Stage::Acquiring | Stage::Waiting))
            });
            fixture.expect(timed_out, "the error of the get was not a timeout while acquiring")?;
        }
        drop((answer, lazy, scope));
        fixture.drained(&scopes).await?;
        fixture.works_again().await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L12: a release that hangs ends by its deadline; the handle is dropped once, and counted as abandoned.
pub(super) async fn hung_release_ends<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for settles in [false, true] {
        let case = "a release that never ends";
        let fixture = if settles { setup.settling_fixture(case) } else { setup.fixture(case) };
        let scopes = Scopes::builder().close_timeout(DEADLINE).build();
        let scope = scopes.open();
        drop(fixture.get(&scope.lazy(&fixture.resource)).await?);
        fixture.resource.before_release.never();
        let settles = fixture.resource.settles(Exit::Completed);
        let closed = fixture.within("close", scope.close(Exit::Completed)).await?;
        fixture.expect(closed.is_err() == settles, "the close did not report the release that it waited for")?;
        fixture.drained(&scopes).await?;
        fixture.expect(scopes.stats().abandoned == 1, "the handle that was dropped was not counted as abandoned")?;
        fixture.expect(
            fixture.resource.records.record(0).state == HandleState::Abandoned,
            "the handle is still there",
        )?;
        fixture.still_works().await?;
        fixture.end_with_abandoned(1).await?;
    }
    Ok(())
}

/// L16: a drain waits for open scopes and background releases, and the counters balance.
pub(super) async fn drain_waits_for_all<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a drain while scopes are open and leases are dropped");
    let scopes = Scopes::new();
    let open = scopes.open();
    // A sibling's handle, because the resource may have only one at a time.
    let other = Arc::new(Probe::with_records(Arc::clone(&fixture.resource.records)));
    drop(fixture.success("get", open.lazy(&other).get().await)?);
    let dropped = scopes.open();
    drop(fixture.get(&dropped.lazy(&fixture.resource)).await?);
    drop(dropped);
    let leased = Lease::acquire_in(scopes.reaper(), &fixture.resource);
    drop(fixture.success("Lease::acquire", fixture.within("Lease::acquire", leased).await?)?);

    let early = fixture.within("the drain", scopes.drain(DEADLINE)).await?;
    fixture
        .expect(early.open_scopes == 1 && !early.is_clean(), format!("the open scope was overlooked: {early:?}"))?;
    drop(open);
    let report = fixture.within("the drain", scopes.drain(BOUND / 2)).await?;
    fixture.expect(report.is_clean(), format!("the drain was not clean: {report:?}"))?;
    let stats = scopes.stats();
    fixture.expect(
        stats.acquired >= 3 && stats.acquired == stats.released && stats.pending_releases == 0,
        format!("the counters do not balance: {stats:?}"),
    )?;
    fixture.expect(fixture.counts().live() == 0, "the drain ended before the releases")?;
    fixture.end().await
}
