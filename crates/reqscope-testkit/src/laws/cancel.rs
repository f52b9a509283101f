//! Calls the methods, and cancels them at every await in turn.

use std::pin::pin;
use std::task::Poll;

use reqscope::{Exit, Lease, Reaper, Resource};

use super::fixture::Setup;
use super::limits::{BOUND, MOST_POLLS, ROUNDS};
use super::report::Verdict;
use crate::outcome::Outcome;
use crate::poll::poll_once;
use crate::probe::Verb;
use crate::until::holds_within;

/// L3: a cancelled acquire leaves nothing behind, and its slot is free.
pub(super) async fn cancelled_acquire_leaves_nothing<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("an acquire cancelled at poll {polls}"));
        let mut finished = false;
        for _ in 0..ROUNDS {
            match fixture.cut("acquire", polls, fixture.resource.acquire()).await? {
                None => fixture.after_cancel().await?,
                Some(answer) => {
                    finished = true;
                    let handle = fixture.success("acquire", answer)?;
                    fixture.release(handle, Exit::Completed).await?;
                }
            }
        }
        if !finished {
            let better = fixture.probe.releases().into_iter().find(|release| release.exit.is_completed());
            fixture
                .expect(better.is_none(), "an inner handle was released as completed, though it was never used")?;
        }
        fixture.still_works().await?;
        fixture.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}

/// L3: cancelled acquires leave nothing open at the server while their resource lives.
///
/// A resource may keep some handles open, as a pool does, but not one for each acquire that was cut.
pub(super) async fn cancelled_acquires_leave_nothing_open<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("{ROUNDS} acquires cancelled at poll {polls}"));
        let Some(census) = fixture.census() else { return Ok(()) };
        fixture.still_works().await?;
        let before = fixture.counted(census.now().await)?;
        let mut finished = false;
        for _ in 0..ROUNDS {
            if let Some(answer) = fixture.cut("acquire", polls, fixture.resource.acquire()).await? {
                finished = true;
                fixture.release(fixture.success("acquire", answer)?, Exit::Completed).await?;
            }
            // Whatever a pool has begun for the cut acquire is there for this one.
            fixture.still_works().await?;
        }
        fixture.counted(census.at_most(before + ROUNDS - 1).await)?;
        fixture.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}

/// L6: a handle that the backend grants after the caller was dropped is released.
pub(super) async fn late_handle_is_released<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    if !setup.uses_the_probe().await {
        return Ok(());
    }
    let fixture = setup.fixture("an acquire dropped while the backend does not answer");
    fixture.probe.on(Verb::Acquire).close();
    {
        let mut acquire = pin!(fixture.resource.acquire());
        let mut answer = Poll::Pending;
        let arrived = holds_within(BOUND, || {
            answer = poll_once(acquire.as_mut());
            answer.is_ready() || fixture.probe.on(Verb::Acquire).waiting() > 0
        });
        if !arrived.await {
            return Ok(()); // it neither returns nor asks the probe: nothing can be held up
        }
        if let Poll::Ready(answer) = answer {
            let handle = fixture.success("acquire", answer)?;
            fixture.release(handle, Exit::Completed).await?;
        }
    }
    fixture.probe.on(Verb::Acquire).always(Outcome::ok());
    fixture.after_cancel().await?;
    fixture.still_works().await?;
    fixture.end().await
}

/// L3: the same for `Lease::acquire`.
pub(super) async fn cancelled_lease_leaves_nothing<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("Lease::acquire cancelled at poll {polls}"));
        let reaper = Reaper::new();
        let leased = Lease::acquire_in(&reaper, &fixture.resource);
        let finished = match fixture.cut("Lease::acquire", polls, leased).await? {
            None => false,
            Some(answer) => {
                drop(fixture.success("Lease::acquire", answer)?);
                true
            }
        };
        fixture.after_cancel().await?;
        let report = reaper.drain(BOUND).await;
        fixture.expect(report.is_clean(), format!("the reaper was not clean afterwards: {report:?}"))?;
        fixture.still_works().await?;
        fixture.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}

/// L12: a release that misses its deadline costs the handle, but not the slot.
pub(super) async fn cancelled_release_frees_the_slot<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("a release cancelled at poll {polls}"));
        let mut cut = 0;
        for _ in 0..ROUNDS {
            let handle = fixture.acquire().await?;
            match fixture.cut("release", polls, fixture.resource.release(handle, Exit::Completed)).await? {
                None => cut += 1,
                Some(answer) => fixture.success("release", answer)?,
            }
        }
        fixture.still_works().await?;
        fixture.end_with_abandoned(cut).await?;
        if cut == 0 {
            break;
        }
    }
    Ok(())
}

/// L1: a handle whose validate was cancelled can still be released.
pub(super) async fn cancelled_validate_keeps_the_handle<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("a validate cancelled at poll {polls}"));
        let mut finished = false;
        for _ in 0..ROUNDS {
            let mut handle = fixture.acquire().await?;
            let validated = fixture.resource.validate(&mut handle);
            finished |= fixture.cut("validate", polls, validated).await?.is_some();
            fixture.release(handle, Exit::Cancelled).await?;
        }
        fixture.still_works().await?;
        fixture.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}
