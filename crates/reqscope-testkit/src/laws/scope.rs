//! One handle per scope: how it is acquired and shared, and what happens to it when its users are dropped.

use std::task::Poll;

use reqscope::scope::LazyState;
use reqscope::{Exit, Resource, Scopes};

use super::counting::Mode;
use super::fixture::{EXITS, Setup, yield_a_few_times};
use super::limits::{BOUND, MOST_POLLS};
use super::report::Verdict;
use crate::outcome::Outcome;
use crate::poll::poll_once;
use crate::probe::{Probe, Verb};
use crate::until::holds_within;

/// L2: a scope that is not used acquires nothing.
pub(super) async fn unused_scope_acquires_nothing<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a scope opened and closed, with a cell that is not used");
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&fixture.resource);
    yield_a_few_times().await;
    fixture.expect(lazy.state() == LazyState::Unused, "the cell is in use")?;
    fixture.success("close", fixture.within("close", scope.close(Exit::Completed)).await?)?;
    fixture.expect(fixture.counts().acquires == 0 && fixture.inside().acquires == 0, "something was acquired")?;
    drop(lazy);
    fixture.end().await
}

/// L4: many first users share one acquisition and one handle, one at a time.
pub(super) async fn first_users_share_one_acquisition<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("four concurrent first uses");
    let scopes = Scopes::new();
    let scope = scopes.open();
    let users: Vec<_> = (0..4)
        .map(|_| {
            let lazy = scope.lazy(&fixture.resource);
            tokio::spawn(async move {
                let guard = lazy.get().await.map_err(|error| error.to_string())?;
                let alone = lazy.try_get().is_err();
                yield_a_few_times().await;
                Ok::<_, String>((guard.id(), alone))
            })
        })
        .collect();
    for user in users {
        let joined = fixture.success("a user", fixture.within("a user", user).await?)?;
        let (id, alone) = fixture.success("get", joined)?;
        fixture.expect(id == 0, "two users of one scope had different handles")?;
        fixture.expect(alone, "two users had the handle at the same time")?;
    }
    fixture
        .expect(fixture.counts().acquires == 1, format!("{} acquisitions were made", fixture.counts().acquires))?;
    fixture.success("close", fixture.within("close", scope.close(Exit::Completed)).await?)?;
    fixture.drained(&scopes).await?;
    fixture.end().await
}

/// L5: the first user is not polled any more, or dropped.
pub(super) async fn sleeping_first_user_stalls_no_other<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for gone in [false, true] {
        let who = if gone { "dropped" } else { "not polled again" };
        let fixture = setup.fixture(format!("a first user polled once and then {who}"));
        let scopes = Scopes::new();
        let scope = scopes.open();
        let lazy = scope.lazy(&fixture.resource);
        fixture.resource.before_acquire.close();
        let mut first = Box::pin(lazy.get());
        fixture.expect(poll_once(first.as_mut()).is_pending(), "the get did not wait for the resource")?;
        if gone {
            drop(first);
            fixture.resource.before_acquire.always(Outcome::ok());
            drop(fixture.get(&lazy).await?);
        } else {
            fixture.resource.before_acquire.always(Outcome::ok());
            drop(fixture.get(&lazy).await?);
            // Polled again, it gets the same handle.
            let answer = fixture.within("the first get", first).await?;
            let same = answer.is_ok_and(|guard| guard.id() == 0);
            fixture.expect(same, "the first user did not get the shared handle")?;
        }
        drop(lazy); // a cell keeps its resource
        fixture.expect(
            fixture.counts().acquires == 1,
            format!("{} acquisitions were made", fixture.counts().acquires),
        )?;
        fixture.success("close", fixture.within("close", scope.close(Exit::Completed)).await?)?;
        fixture.drained(&scopes).await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L6: the scope is closed while it acquires, before the resource is called.
pub(super) async fn close_cancels_the_acquisition<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("a scope closed while it acquires");
    let scopes = Scopes::new();
    let scope = scopes.open();
    let lazy = scope.lazy(&fixture.resource);
    fixture.resource.before_acquire.close();
    let mut get = Box::pin(lazy.get());
    fixture.expect(poll_once(get.as_mut()).is_pending(), "the get did not wait for the resource")?;
    // Whether a pending acquisition fails the close depends on whether the resource settles.
    drop(fixture.within("close", scope.close(Exit::Completed)).await?);
    let answer = fixture.within("the pending get", get).await?;
    fixture.expect(
        answer.is_err_and(|error| error.is_closed()),
        "the error of the pending get did not say that the scope is closed",
    )?;
    fixture.until("the acquisition was not cancelled", || fixture.counts().acquiring == 0).await?;
    fixture.resource.before_acquire.always(Outcome::ok());
    yield_a_few_times().await;
    fixture.expect(fixture.counts().acquired == 0, "a handle was acquired for a closed scope")?;
    drop(lazy);
    fixture.end().await
}

/// L6: the backend answers after the scope was dropped.
pub(super) async fn handle_for_a_closed_scope_is_released<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    if !setup.uses_the_probe().await {
        return Ok(());
    }
    let fixture = setup.fixture("a scope dropped while the backend does not answer");
    let scopes = Scopes::new();
    let scope = scopes.open();
    let lazy = scope.lazy(&fixture.resource);
    fixture.probe.on(Verb::Acquire).close();
    let mut get = Box::pin(lazy.get());
    let asked =
        holds_within(BOUND, || poll_once(get.as_mut()).is_ready() || fixture.probe.on(Verb::Acquire).waiting() > 0);
    if !asked.await {
        return Ok(()); // it neither returns nor asks the probe: nothing can be held up
    }
    drop((get, scope));
    yield_a_few_times().await;
    fixture.probe.on(Verb::Acquire).always(Outcome::ok());
    fixture.after_cancel().await?;
    fixture.until("the handle was not released", || fixture.counts().live() == 0).await?;
    let answer = fixture.within("get", lazy.get()).await?;
    fixture.expect(answer.is_err_and(|error| error.is_closed()), "a get was served after the close")?;
    drop(lazy);
    fixture.still_works().await?;
    fixture.end().await
}

/// L6: a handle arrives in the poll in which its scope is closed.
pub(super) async fn handle_that_meets_the_close_is_released<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for waits in [false, true] {
        let fixture = setup.fixture("a scope dropped in the poll in which its handle arrives");
        if !waits {
            fixture.resource.before_acquire.always(Outcome::ok());
            fixture.probe.on(Verb::Acquire).always(Outcome::ok());
        }
        let scopes = Scopes::new();
        let scope = scopes.open();
        let lazy = scope.lazy(&fixture.resource);
        *fixture.resource.on_arrival.lock() = Some(Box::new(move || drop(scope)));
        let answer = fixture.within("get", lazy.get()).await?;
        fixture.expect(answer.is_err_and(|error| error.is_closed()), "the get was served after the close")?;
        let exits = fixture.exits(&scopes).await?;
        fixture.expect(exits == [Exit::Cancelled], format!("the handle was released as {exits:?}"))?;
        fixture.expect(scopes.stats().late == 1, "the handle was not counted as late")?;
        drop(lazy);
        fixture.end().await?;
    }
    Ok(())
}

/// L7: the waiters of one attempt share its error, and the next get tries again.
pub(super) async fn error_is_shared_and_not_cached<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let fixture = setup.fixture(format!("two users of an acquisition that {outcome}, then a third"));
        let scopes = Scopes::new();
        let scope = scopes.open();
        let lazy = scope.lazy(&fixture.resource);
        fixture.resource.before_acquire.close();
        let (mut first, mut second) = (Box::pin(lazy.get()), Box::pin(lazy.get()));
        let pending = [poll_once(first.as_mut()), poll_once(second.as_mut())].iter().all(Poll::is_pending);
        fixture.expect(pending, "a get did not wait for the resource")?;
        fixture.resource.before_acquire.next(outcome);
        for get in [first, second] {
            let answer = fixture.within("get", get).await?;
            fixture.expect(answer.is_err(), "a waiter did not get the error")?;
        }
        fixture
            .expect(fixture.counts().acquires == 1, "the waiters of one failed attempt made another by themselves")?;
        fixture.resource.before_acquire.always(Outcome::ok());
        drop(fixture.get(&lazy).await?);
        drop(lazy);
        fixture.success("close", fixture.within("close", scope.close(Exit::Completed)).await?)?;
        fixture.drained(&scopes).await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L1: a request whose handle is acquired and released without waiting, if the resource can do that.
pub(super) async fn request_by_shortcuts<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for exit in EXITS {
        let case = format!("a request through try_acquire and reclaim, closed as {exit}");
        let fixture = setup.fixture_over(Probe::new().reclaiming(), Mode::Shortcuts, case);
        fixture.probe.make_ready(1);
        let scopes = Scopes::new();
        let scope = scopes.open();
        drop(fixture.get(&scope.lazy(&fixture.resource)).await?);
        fixture.probe.make_ready(0);
        drop(fixture.within("close", scope.close(exit)).await?);
        let exits = fixture.exits(&scopes).await?;
        fixture.expect(exits == [exit], format!("the handle was released as {exits:?}"))?;
        fixture.still_works().await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L1: a whole request is cancelled at every await in turn.
pub(super) async fn cancelled_request_leaves_nothing<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for settles in [false, true] {
        for polls in 0..MOST_POLLS {
            let case = format!("a request cancelled at poll {polls}");
            let fixture = if settles { setup.settling_fixture(case) } else { setup.fixture(case) };
            let scopes = Scopes::new();
            let request = async {
                let scope = scopes.open();
                let lazy = scope.lazy(&fixture.resource);
                let first = lazy.get().await.map(drop);
                tokio::task::yield_now().await;
                let second = lazy.get().await.map(drop);
                let closed = scope.close(Exit::Completed).await;
                first.is_ok() && second.is_ok() && closed.is_ok()
            };
            let whole = fixture.cut("the request", polls, request).await?;
            fixture.expect(whole != Some(false), "a request that was not cancelled failed")?;
            fixture.after_cancel().await?;
            let report = scopes.drain(BOUND).await;
            fixture.expect(report.is_clean(), format!("the drain was not clean: {report:?}"))?;
            fixture.still_works().await?;
            fixture.end().await?;
            if whole.is_some() {
                break;
            }
        }
    }
    Ok(())
}
