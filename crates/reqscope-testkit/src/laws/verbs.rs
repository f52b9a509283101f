//! Calls the methods one after the other, without cancelling.

use std::pin::pin;
use std::time::Duration;

use reqscope::{Exit, Resource};
use tokio::time::timeout;

use super::counting::Mode;
use super::fixture::{EXITS, Setup, yield_a_few_times};
use super::limits::ROUNDS;
use super::report::{Breach, Verdict};
use super::unwind::catch_panic;
use crate::outcome::Outcome;
use crate::panics::catch_quietly;
use crate::probe::{Probe, Verb};

/// How long a second acquire may be pending before the suite takes it for one that waits for the first handle.
const WAITS: Duration = Duration::from_millis(50);

/// What to do about an outcome that is hidden from the client.
const FORWARD_SETTLES: &str = "forward `settles` to the resource inside, or the response does not wait for its COMMIT, and hides one that fails";

/// What to do about a pool that keeps a handle whose outcome the client has to know.
const REFUSE_SETTLING: &str = "panic where it is built if `ends_with_request` of the resource inside is true, or one \
                               request goes on in the transaction of another";

/// L4: while one request has a handle, another one gets its own, or waits for the first one's release.
///
/// Everything else builds on this, so a resource that breaks it ends the run.
pub(super) async fn second_acquire_is_served_or_waits<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("an acquire, and a second one while the first handle is out");
    let first = fixture.acquire().await.map_err(Breach::ending_the_run)?;
    let (first, answer) = {
        let mut second = pin!(fixture.resource.acquire());
        match timeout(WAITS, second.as_mut()).await {
            Ok(answer) => (Some(first), answer),
            Err(_elapsed) => {
                fixture.release(first, Exit::Completed).await?;
                (None, fixture.within("the second acquire", second).await?)
            }
        }
    };
    let second = fixture.success("the second acquire", answer).map_err(|breach: Breach| {
        breach.ending_the_run().advise(
            "a second acquire must succeed while the first handle is out, or wait for its release: a server has \
             several requests at a time, and so has this suite",
        )
    })?;
    for handle in first.into_iter().chain([second]) {
        fixture.release(handle, Exit::Completed).await?;
    }
    fixture.end().await
}

/// L1: a handle that is released once is released once inside, with every exit.
pub(super) async fn handle_is_released_with_every_exit<R: Resource>(setup: Setup<'_, R>) -> Verdict {
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
pub(super) async fn shortcuts_count_too<R: Resource>(setup: Setup<'_, R>) -> Verdict {
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

/// L1: a release that fails or panics has ended the handle, and its slot is free.
pub(super) async fn failed_release_ends_the_handle<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::panic()] {
        let fixture = setup.fixture(format!("a release whose inner one {outcome}"));
        for _ in 0..ROUNDS {
            let handle = fixture.acquire().await?;
            fixture.probe.on(Verb::Release).next(outcome.clone());
            // The result does not matter, only that the handle is gone.
            drop(fixture.within("release", catch_panic(fixture.resource.release(handle, Exit::Completed))).await?);
        }
        fixture.probe.on(Verb::Release).always(Outcome::ok());
        fixture.still_works().await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L7: after a failure the next acquire tries again.
pub(super) async fn failed_acquire_is_tried_again<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for outcome in [Outcome::error(), Outcome::permanent(), Outcome::panic()] {
        let fixture = setup.fixture(format!("an acquire whose inner one {outcome}"));
        // An outcome for each attempt that is made: one that a pool refuses by itself would leave its outcome behind.
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

/// L1: an acquire that fails half-way releases the handle that it has acquired inside.
pub(super) async fn half_made_handle_is_released<R: Resource>(setup: Setup<'_, R>) -> Verdict {
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
        // A pool may hold its backend to be down.
        fixture.works_again().await?;
        fixture.end().await?;
    }
    Ok(())
}

/// L9: the exit is passed on to the inside, unless the handle has been validated since.
pub(super) async fn exit_is_passed_on<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for exit in EXITS {
        let fixture = setup.fixture(format!("release as {exit}"));
        let handle = fixture.acquire().await?;
        let validated = fixture.inside().validated;
        fixture.release(handle, exit).await?;
        let validated = fixture.inside().validated > validated;
        for inner in fixture.probe.releases() {
            let better = inner.exit < exit && !validated;
            let spoilt = exit.is_completed() && !inner.exit.is_completed();
            fixture.expect(!better && !spoilt, format!("the inner release was passed {}", inner.exit))?;
        }
        fixture.end().await?;
    }
    Ok(())
}

/// L11: a resource that settles any exit settles `Completed`.
pub(super) async fn settling_is_consistent<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("settles");
    let any = EXITS.into_iter().any(|exit| fixture.resource.settles(exit));
    fixture.expect(!any || fixture.resource.settles(Exit::Completed), "it settles some exit, but not Completed")?;
    fixture.end().await
}

/// L11: a release that settles inside settles outside, too. A wrapper that does not forward `settles` hides it, and a
/// pool hides it if it can be built around such a resource.
pub(super) async fn inner_settle_is_not_hidden<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    for exit in EXITS {
        let case = format!("release as {exit} over a probe that settles");
        let make = || setup.fixture_over(Probe::new().settling(), Mode::Waiting, case);
        // A panic refuses the probe, as a pool must. No other probe was refused, or the suite would not get here.
        let Ok(fixture) = catch_quietly(make) else { return Ok(()) };
        let handle = fixture.acquire().await?;
        let before = fixture.probe.releases().len();
        fixture.release(handle, exit).await?;
        yield_a_few_times().await; // a task that was spawned for it has begun by now
        let settled =
            fixture.probe.releases().into_iter().skip(before).find(|inner| fixture.probe.settles(inner.exit));
        if let (Some(inner), false) = (settled, fixture.resource.settles(exit)) {
            let inner = inner.exit;
            let hidden = format!("`settles({exit:?})` is false, but the release inside settled as {inner}");
            return fixture.breach(hidden).map_err(|breach: Breach| breach.advise(FORWARD_SETTLES));
        }
        if exit.is_completed() && fixture.inside().live() > 0 && !fixture.resource.settles(exit) {
            let kept = "`settles(Completed)` is false, and the handle inside was kept instead of settled";
            return fixture.breach(kept).map_err(|breach: Breach| breach.advise(REFUSE_SETTLING));
        }
        fixture.end().await?;
    }
    Ok(())
}

/// L2: creating the resource acquires nothing.
pub(super) async fn new_resource_acquires_nothing<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let fixture = setup.fixture("the resource created and not used");
    yield_a_few_times().await;
    fixture.expect(fixture.inside().acquires == 0, "it acquired something")?;
    fixture.end().await
}
