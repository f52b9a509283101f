//! The verbs called by hand, and cancelled at every await in turn.

use std::pin::pin;
use std::task::Poll;

use reqscope::{Exit, Lease, Reaper, Resource};

use super::fixture::{BOUND, MOST_POLLS, ROUNDS, Setup};
use super::report::Verdict;
use crate::outcome::Outcome;
use crate::poll::{cancel_at, poll_once};
use crate::probe::Verb;
use crate::until::holds_within;

/// L3: an acquire that is cut leaves nothing behind, and its slot is free.
pub(super) async fn an_acquire_that_is_cut<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("an acquire cut at poll {polls}"));
        let mut finished = false;
        for _ in 0..ROUNDS {
            match fixture.within("acquire", cancel_at(polls, fixture.resource.acquire())).await? {
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
            fixture.expect(better.is_none(), "an inner handle went back as completed, though nobody had it")?;
        }
        fixture.still_works().await?;
        fixture.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}

/// L6: a handle that the backend grants after the caller has gone is given back.
pub(super) async fn a_late_arrival<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("an acquire dropped while the backend does not answer");
    fixture.probe.on(Verb::Acquire).close();
    {
        let mut acquire = pin!(fixture.resource.acquire());
        let mut answer = Poll::Pending;
        let arrived = holds_within(BOUND / 50, || {
            answer = poll_once(acquire.as_mut());
            answer.is_ready() || fixture.probe.on(Verb::Acquire).waiting() > 0
        });
        if !arrived.await {
            return Ok(()); // it neither answers nor asks the probe: nothing can be held up
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

/// L3: the same under a lease.
pub(super) async fn a_lease_that_is_cut<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("Lease::acquire cut at poll {polls}"));
        let reaper = Reaper::new();
        let leased = cancel_at(polls, Lease::acquire_in(&reaper, &fixture.resource));
        let finished = match fixture.within("Lease::acquire", leased).await? {
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

/// L12: a release that misses its deadline costs the handle, and not the slot.
pub(super) async fn a_release_that_is_cut<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("a release cut at poll {polls}"));
        let mut cut = 0;
        for _ in 0..ROUNDS {
            let handle = fixture.acquire().await?;
            match fixture
                .within("release", cancel_at(polls, fixture.resource.release(handle, Exit::Completed)))
                .await?
            {
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

/// L1: a handle whose validate was cut can still be given back.
pub(super) async fn a_validate_that_is_cut<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let fixture = setup.fixture(format!("a validate cut at poll {polls}"));
        let mut finished = false;
        for _ in 0..ROUNDS {
            let mut handle = fixture.acquire().await?;
            let validated = cancel_at(polls, fixture.resource.validate(&mut handle));
            finished |= fixture.within("validate", validated).await?.is_some();
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
