//! The verbs called by hand, one after the other, without any cancelling.

use reqscope::{Exit, Resource};

use super::counting::Mode;
use super::fixture::{EXITS, ROUNDS, Setup, yield_a_few_times};
use super::report::Verdict;
use super::unwind::catch_panic;
use crate::outcome::Outcome;
use crate::probe::{Probe, Verb};

/// L1: each handle that is given back is given back once inside, whatever the exit.
pub(super) async fn every_exit_ends_a_handle<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for exit in EXITS {
        let fixture = setup.fixture(format!("acquire, then release as {exit}"));
        for _ in 0..ROUNDS {
            let handle = fixture.acquire().await?;
            fixture.release(handle, exit).await?;
        }
        fixture.end().await?;
    }
    Ok(())
}

/// L1: the shortcuts that do not wait move the same handles.
pub(super) async fn the_shortcuts_count_too<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let probe = Probe::new().reclaiming();
    let fixture =
        setup.fixture_over(probe, Mode::Shortcuts, "try_acquire, then reclaim, then release if that is refused");
    for exit in EXITS {
        fixture.probe.make_ready(1);
        let handle = match fixture.resource.try_acquire() {
            Some(handle) => handle,
            None => fixture.acquire().await?,
        };
        if let Err(handle) = fixture.resource.reclaim(handle, exit) {
            fixture.release(handle, exit).await?;
        }
    }
    fixture.probe.make_ready(0);
    fixture.still_works().await?;
    fixture.end().await
}

/// L1: a release that fails or panics has still ended the handle, and its slot is free.
pub(super) async fn a_failed_release_ends_the_handle<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let fixture = setup.fixture(format!("a release whose inner one {outcome}"));
        for _ in 0..ROUNDS {
            let handle = fixture.acquire().await?;
            fixture.probe.on(Verb::Release).next(outcome.clone());
            // Whether it says so or not: what counts is that the handle is gone.
            drop(fixture.within("release", catch_panic(fixture.resource.release(handle, Exit::Completed))).await?);
        }
        fixture.probe.on(Verb::Release).always(Outcome::ok());
        fixture.still_works().await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L7: whatever one attempt met, the next one is made anew.
pub(super) async fn the_next_acquire_tries_again<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::permanent(), Outcome::panic()] {
        let fixture = setup.fixture(format!("an acquire whose inner one {outcome}"));
        // Each of them that asks: one that is refused without being asked for leaves no outcome behind.
        fixture.probe.on(Verb::Acquire).always(outcome);
        for _ in 0..ROUNDS {
            let answer = fixture.within("acquire", catch_panic(fixture.resource.acquire())).await?;
            if let Ok(Ok(handle)) = answer {
                fixture.release(handle, Exit::Completed).await?;
            }
        }
        fixture.probe.on(Verb::Acquire).always(Outcome::ok());
        fixture.works_again().await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L1: an acquire that fails half-way gives back what it had got by then.
pub(super) async fn a_half_made_handle_goes_back<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let fixture = setup.fixture(format!("an acquire whose inner validate {outcome}"));
        for _ in 0..ROUNDS {
            fixture.probe.on(Verb::Validate).always(outcome.clone());
            let answer = fixture.within("acquire", catch_panic(fixture.resource.acquire())).await?;
            fixture.probe.on(Verb::Validate).always(Outcome::ok());
            if let Ok(Ok(handle)) = answer {
                fixture.release(handle, Exit::Cancelled).await?;
            }
        }
        fixture.still_works().await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L9: the exit reaches the inside as it was told, unless the handle has been proved since.
pub(super) async fn the_exit_is_passed_on<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for told in EXITS {
        let fixture = setup.fixture(format!("release as {told}"));
        let handle = fixture.acquire().await?;
        let proved = fixture.inside().validated;
        fixture.release(handle, told).await?;
        let proved = fixture.inside().validated > proved;
        for inner in fixture.probe.releases() {
            let better = inner.exit < told && !proved;
            let spoilt = told.is_completed() && !inner.exit.is_completed();
            fixture.expect(!better && !spoilt, format!("the inner release was told {}", inner.exit))?;
        }
        fixture.end().await?;
    }
    Ok(())
}

/// L11: what matters to the client when it failed, matters when it succeeded.
pub(super) async fn settling_is_consistent<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("settles");
    let any = EXITS.into_iter().any(|exit| fixture.resource.settles(exit));
    fixture.expect(
        !any || fixture.resource.settles(Exit::Completed),
        "it is true for some exit, and not for Completed",
    )?;
    fixture.end().await
}

/// L2: making the resource acquires nothing.
pub(super) async fn making_it_acquires_nothing<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("the resource is made, and not asked");
    yield_a_few_times().await;
    fixture.expect(fixture.inside().acquires == 0, "it acquired something")?;
    fixture.end().await
}
