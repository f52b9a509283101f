//! The verbs called by hand, one after the other, without any cancelling.

use reqscope::{Exit, Resource};

use super::outside::Manner;
use super::report::Verdict;
use super::trial::{Bench, EXITS, ROUNDS, a_moment};
use super::unwind::caught;
use crate::outcome::Outcome;
use crate::probe::{Probe, Verb};

/// L1: each handle that is given back is given back once inside, whatever the exit.
pub(super) async fn every_exit_ends_a_handle<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for exit in EXITS {
        let trial = bench.trial(format!("acquire, then release as {exit}"));
        for _ in 0..ROUNDS {
            let handle = trial.acquire().await?;
            trial.release(handle, exit).await?;
        }
        trial.end().await?;
    }
    Ok(())
}

/// L1: the shortcuts that do not wait move the same handles.
pub(super) async fn the_shortcuts_count_too<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let probe = Probe::new().reclaiming();
    let trial =
        bench.trial_over(probe, Manner::Shortcuts, "try_acquire, then reclaim, then release if that is refused");
    for exit in EXITS {
        trial.probe.make_ready(1);
        let handle = match trial.outside.try_acquire() {
            Some(handle) => handle,
            None => trial.acquire().await?,
        };
        if let Err(handle) = trial.outside.reclaim(handle, exit) {
            trial.release(handle, exit).await?;
        }
    }
    trial.probe.make_ready(0);
    trial.still_works().await?;
    trial.end().await
}

/// L1: a release that fails or panics has still ended the handle, and its slot is free.
pub(super) async fn a_failed_release_ends_the_handle<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let trial = bench.trial(format!("a release whose inner one {outcome}"));
        for _ in 0..ROUNDS {
            let handle = trial.acquire().await?;
            trial.probe.on(Verb::Release).next(outcome.clone());
            // Whether it says so or not: what counts is that the handle is gone.
            drop(trial.within("release", caught(trial.outside.release(handle, Exit::Completed))).await?);
        }
        trial.probe.on(Verb::Release).always(Outcome::ok());
        trial.still_works().await?;
        trial.end().await?;
    }
    Ok(())
}

/// L7: whatever one attempt met, the next one is made anew.
pub(super) async fn the_next_acquire_tries_again<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::permanent(), Outcome::panic()] {
        let trial = bench.trial(format!("an acquire whose inner one {outcome}"));
        // Each of them that asks: one that is refused without being asked for leaves no outcome behind.
        trial.probe.on(Verb::Acquire).always(outcome);
        for _ in 0..ROUNDS {
            let answer = trial.within("acquire", caught(trial.outside.acquire())).await?;
            if let Ok(Ok(handle)) = answer {
                trial.release(handle, Exit::Completed).await?;
            }
        }
        trial.probe.on(Verb::Acquire).always(Outcome::ok());
        trial.works_again().await?;
        trial.end().await?;
    }
    Ok(())
}

/// L1: an acquire that fails half-way gives back what it had got by then.
pub(super) async fn a_half_made_handle_goes_back<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let trial = bench.trial(format!("an acquire whose inner validate {outcome}"));
        for _ in 0..ROUNDS {
            trial.probe.on(Verb::Validate).always(outcome.clone());
            let answer = trial.within("acquire", caught(trial.outside.acquire())).await?;
            trial.probe.on(Verb::Validate).always(Outcome::ok());
            if let Ok(Ok(handle)) = answer {
                trial.release(handle, Exit::Cancelled).await?;
            }
        }
        trial.still_works().await?;
        trial.end().await?;
    }
    Ok(())
}

/// L9: the exit reaches the inside as it was told, unless the handle has been proved since.
pub(super) async fn the_exit_is_passed_on<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    for told in EXITS {
        let trial = bench.trial(format!("release as {told}"));
        let handle = trial.acquire().await?;
        let proved = trial.inside().validated;
        trial.release(handle, told).await?;
        let proved = trial.inside().validated > proved;
        for inner in trial.probe.releases() {
            let better = inner.exit < told && !proved;
            let spoilt = told.is_completed() && !inner.exit.is_completed();
            trial.expect(!better && !spoilt, format!("the inner release was told {}", inner.exit))?;
        }
        trial.end().await?;
    }
    Ok(())
}

/// L11: what matters to the client when it failed, matters when it succeeded.
pub(super) async fn settling_is_consistent<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let trial = bench.trial("settles");
    let any = EXITS.into_iter().any(|exit| trial.outside.settles(exit));
    trial
        .expect(!any || trial.outside.settles(Exit::Completed), "it is true for some exit, and not for Completed")?;
    trial.end().await
}

/// L2: making the resource acquires nothing.
pub(super) async fn making_it_acquires_nothing<R: Resource>(bench: Bench<'_, R>) -> Verdict {
    let trial = bench.trial("the resource is made, and not asked");
    a_moment().await;
    trial.expect(trial.inside().acquires == 0, "it acquired something")?;
    trial.end().await
}
