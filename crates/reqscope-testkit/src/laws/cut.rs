//! The verbs called by hand, and cancelled at every await in turn.

use std::pin::pin;
use std::task::Poll;

use reqscope::{Exit, Lease, Reaper, Resource};

use super::report::Verdict;
use super::trial::{BOUND, Bench, MOST_POLLS, ROUNDS};
use crate::outcome::Outcome;
use crate::poll::{cancel_at, poll_once};
use crate::probe::Verb;
use crate::until::holds_within;

/// L3: an acquire that is cut leaves nothing behind, and its slot is free.
pub(super) async fn an_acquire_that_is_cut<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let trial = bench.trial(format!("an acquire cut at poll {polls}"));
        let mut finished = false;
        for _ in 0..ROUNDS {
            match trial.within("acquire", cancel_at(polls, trial.outside.acquire())).await? {
                None => trial.after_a_cut().await?,
                Some(answer) => {
                    finished = true;
                    let handle = trial.success("acquire", answer)?;
                    trial.release(handle, Exit::Completed).await?;
                }
            }
        }
        if !finished {
            let better = trial.probe.releases().into_iter().find(|release| release.exit.is_completed());
            trial.expect(better.is_none(), "an inner handle went back as completed, though nobody had it")?;
        }
        trial.still_works().await?;
        trial.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}

/// L6: a handle that the backend grants after the caller has gone is given back.
pub(super) async fn a_late_arrival<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let trial = bench.trial("an acquire dropped while the backend does not answer");
    trial.probe.on(Verb::Acquire).close();
    {
        let mut acquire = pin!(trial.outside.acquire());
        let mut answer = Poll::Pending;
        let arrived = holds_within(BOUND / 50, || {
            answer = poll_once(acquire.as_mut());
            answer.is_ready() || trial.probe.on(Verb::Acquire).waiting() > 0
        });
        if !arrived.await {
            return Ok(()); // it neither answers nor asks the probe: nothing can be held up
        }
        if let Poll::Ready(answer) = answer {
            let handle = trial.success("acquire", answer)?;
            trial.release(handle, Exit::Completed).await?;
        }
    }
    trial.probe.on(Verb::Acquire).always(Outcome::ok());
    trial.after_a_cut().await?;
    trial.still_works().await?;
    trial.end().await
}

/// L3: the same under a lease.
pub(super) async fn a_lease_that_is_cut<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let trial = bench.trial(format!("Lease::acquire cut at poll {polls}"));
        let reaper = Reaper::new();
        let leased = cancel_at(polls, Lease::acquire_in(&reaper, &trial.outside));
        let finished = match trial.within("Lease::acquire", leased).await? {
            None => false,
            Some(answer) => {
                drop(trial.success("Lease::acquire", answer)?);
                true
            }
        };
        trial.after_a_cut().await?;
        let report = reaper.drain(BOUND).await;
        trial.expect(report.is_clean(), format!("the reaper was not clean afterwards: {report:?}"))?;
        trial.still_works().await?;
        trial.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}

/// L12: a release that misses its deadline costs the handle, and not the slot.
pub(super) async fn a_release_that_is_cut<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let trial = bench.trial(format!("a release cut at poll {polls}"));
        let mut cut = 0;
        for _ in 0..ROUNDS {
            let handle = trial.acquire().await?;
            match trial.within("release", cancel_at(polls, trial.outside.release(handle, Exit::Completed))).await? {
                None => cut += 1,
                Some(answer) => trial.success("release", answer)?,
            }
        }
        trial.still_works().await?;
        trial.end_with_abandoned(cut).await?;
        if cut == 0 {
            break;
        }
    }
    Ok(())
}

/// L1: a handle whose validate was cut can still be given back.
pub(super) async fn a_validate_that_is_cut<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for polls in 0..MOST_POLLS {
        let trial = bench.trial(format!("a validate cut at poll {polls}"));
        let mut finished = false;
        for _ in 0..ROUNDS {
            let mut handle = trial.acquire().await?;
            let validated = cancel_at(polls, trial.outside.validate(&mut handle));
            finished |= trial.within("validate", validated).await?.is_some();
            trial.release(handle, Exit::Cancelled).await?;
        }
        trial.still_works().await?;
        trial.end().await?;
        if finished {
            break;
        }
    }
    Ok(())
}
