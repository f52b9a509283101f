//! The end of a scope that holds several handles, and the end of the server.

use std::sync::Arc;
use std::time::Duration;

use reqscope::error::Stage;
use reqscope::{Exit, Lease, Resource, Scopes};

use super::report::Verdict;
use super::trial::{BOUND, Bench, MOST_POLLS};
use crate::books::Fate;
use crate::outcome::Outcome;
use crate::poll::cancel_at;
use crate::probe::{Probe, Verb};

/// Short, so that the suite is quick; what has to pass it passes at once.
const DEADLINE: Duration = Duration::from_millis(50);

/// L10: settling handles first, each kind in reverse order; what fails or panics stops none of the others.
pub(super) async fn handles_are_released_in_order<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for settles in [false, true] {
        let case = "a scope with five resources, of which one fails and one panics in its release";
        let trial = if settles { bench.settling_trial(case) } else { bench.trial(case) };
        let others = Probe::on_books(Arc::clone(&trial.outside.books));
        let fails = others.sibling().settling();
        fails.on(Verb::Release).error();
        let panics = others.sibling();
        panics.on(Verb::Release).panic();
        let [first, fails, panics, last] = [others.sibling(), fails, panics, others.sibling()].map(Arc::new);

        let scopes = Scopes::new();
        let scope = scopes.open();
        let probed = async |probe| trial.success("get", scope.lazy(probe).get().await).map(drop);
        probed(&first).await?;
        probed(&fails).await?;
        drop(trial.get(&scope.lazy(&trial.outside)).await?);
        probed(&panics).await?;
        probed(&last).await?;
        let closed = trial.within("close", scope.close(Exit::Completed)).await?;
        trial.expect(
            closed.is_err_and(|error| error.problems().len() == 1),
            "the failed settling release was not reported, or more than that",
        )?;
        trial.drained(&scopes).await?;

        let order: Vec<u64> = trial.outside.books.releases().iter().map(|release| release.handle).collect();
        let expected = match trial.outside.settles(Exit::Completed) {
            true => [2, 1, 4, 3, 0],
            false => [1, 4, 3, 2, 0],
        };
        trial.expect(
            order == expected,
            format!("acquired as 0 1 2 3 4, released as {order:?} instead of {expected:?}"),
        )?;
        trial.end().await?;
    }
    Ok(())
}

/// L10: one that hangs in its release holds up no other.
pub(super) async fn a_hung_release_holds_up_no_other<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let trial = bench.trial("a scope with two resources, of which the other one hangs in its release");
    let scopes = Scopes::builder().close_timeout(2 * BOUND).build();
    let scope = scopes.open();
    let hangs = Arc::new(Probe::new());
    hangs.on(Verb::Release).never();
    drop(trial.get(&scope.lazy(&trial.outside)).await?);
    drop(trial.success("get", scope.lazy(&hangs).get().await)?);
    trial.success("close", trial.within("close", scope.close(Exit::Completed)).await?)?;
    trial.until("the handle was not released", || trial.counts().live() == 0).await?;
    trial.end().await
}

/// L11: a close that settles, cut at every await in turn, settles all the same.
pub(super) async fn a_settling_close_cannot_be_undone<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let trial = bench.settling_trial(format!("a close that settles, cut at poll {polls}"));
        let scopes = Scopes::new();
        let scope = scopes.open();
        drop(trial.get(&scope.lazy(&trial.outside)).await?);
        let closed = trial.within("close", cancel_at(polls, scope.close(Exit::Completed))).await?;
        if let Some(closed) = &closed {
            trial.expect(closed.is_ok(), "a close that was not cut failed")?;
            let fate = trial.outside.books.record(0).fate;
            trial.expect(fate == Fate::Released, "the close had ended before the release")?;
        }
        let told = trial.told(&scopes).await?;
        trial.expect(told == [Exit::Completed], format!("the handle was told {told:?}"))?;
        trial.end().await?;
        if closed.is_some() {
            break;
        }
    }
    Ok(())
}

/// L11: a close hears of a settling release that failed, and of a settling handle that is not at home.
pub(super) async fn a_failed_settle_fails_the_close<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let trial = bench.settling_trial(format!("a settling release that {outcome}"));
        let scopes = Scopes::new();
        let scope = scopes.open();
        drop(trial.get(&scope.lazy(&trial.outside)).await?);
        trial.outside.before_release.next(outcome);
        let closed = trial.within("close", scope.close(Exit::Completed)).await?;
        trial.expect(closed.is_err(), "the close was a success")?;
        trial.drained(&scopes).await?;
        trial.end().await?;
    }
    let trial = bench.settling_trial("a scope closed while its settling handle is lent");
    let scopes = Scopes::new();
    let scope = scopes.open();
    let guard = trial.get(&scope.lazy(&trial.outside)).await?;
    let closed = trial.within("close", scope.close(Exit::Completed)).await?;
    trial.expect(closed.is_err(), "the close was a success")?;
    drop(guard);
    let told = trial.told(&scopes).await?;
    trial.expect(told == [Exit::Cancelled], format!("the handle was told {told:?}"))?;
    trial.end().await
}

/// L12: an acquisition that hangs ends by its deadline, and leaves nothing.
pub(super) async fn a_hung_acquire_ends<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for inside in [false, true] {
        let trial = bench.trial("an acquire that never ends");
        if inside {
            trial.probe.on(Verb::Acquire).never();
        } else {
            trial.outside.before_acquire.never();
        }
        let scopes = Scopes::builder().acquire_timeout(DEADLINE).build();
        let scope = scopes.open();
        let lazy = scope.lazy(&trial.outside);
        let answer = trial.within("get", lazy.get()).await?;
        if !inside {
            let timed_out = answer.as_ref().is_err_and(|error| {
                error.is_timeout() && matches!(error.stage(), Some(Stage::Acquiring | Stage::Waiting))
            });
            trial.expect(timed_out, "the get did not say that it timed out while acquiring")?;
        }
        drop((answer, lazy, scope));
        trial.drained(&scopes).await?;
        trial.works_again().await?;
        trial.end().await?;
    }
    Ok(())
}

/// L12: a release that hangs ends by its deadline; the handle is dropped, once, and that is counted.
pub(super) async fn a_hung_release_ends<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for settles in [false, true] {
        let case = "a release that never ends";
        let trial = if settles { bench.settling_trial(case) } else { bench.trial(case) };
        let scopes = Scopes::builder().close_timeout(DEADLINE).build();
        let scope = scopes.open();
        drop(trial.get(&scope.lazy(&trial.outside)).await?);
        trial.outside.before_release.never();
        let settles = trial.outside.settles(Exit::Completed);
        let closed = trial.within("close", scope.close(Exit::Completed)).await?;
        trial.expect(closed.is_err() == settles, "the close did not tell of the release that it waited for")?;
        trial.drained(&scopes).await?;
        trial.expect(scopes.stats().abandoned == 1, "the handle that was dropped was not counted as abandoned")?;
        trial.expect(trial.outside.books.record(0).fate == Fate::Abandoned, "the handle is still there")?;
        trial.still_works().await?;
        trial.end_with_abandoned(1).await?;
    }
    Ok(())
}

/// L16: a drain waits for open scopes and for releases that nobody awaits, and its books balance.
pub(super) async fn a_drain_waits_for_all<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let trial = bench.trial("a drain while scopes are open and leases are dropped");
    let scopes = Scopes::new();
    let open = scopes.open();
    // A sibling's, because there may be only one of the resource's own, as of the right to write.
    let other = Arc::new(Probe::on_books(Arc::clone(&trial.outside.books)));
    drop(trial.success("get", open.lazy(&other).get().await)?);
    let dropped = scopes.open();
    drop(trial.get(&dropped.lazy(&trial.outside)).await?);
    drop(dropped);
    let leased = Lease::acquire_in(scopes.reaper(), &trial.outside);
    drop(trial.success("Lease::acquire", trial.within("Lease::acquire", leased).await?)?);

    let early = trial.within("the drain", scopes.drain(DEADLINE)).await?;
    trial.expect(early.open_scopes == 1 && !early.is_clean(), format!("the open scope was overlooked: {early:?}"))?;
    drop(open);
    let report = trial.within("the drain", scopes.drain(BOUND / 2)).await?;
    trial.expect(report.is_clean(), format!("it was not clean: {report:?}"))?;
    let stats = scopes.stats();
    trial.expect(
        stats.acquired >= 3 && stats.acquired == stats.released && stats.pending_releases == 0,
        format!("the books do not balance: {stats:?}"),
    )?;
    trial.expect(trial.counts().live() == 0, "it ended before the releases had")?;
    trial.end().await
}
