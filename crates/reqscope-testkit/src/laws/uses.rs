//! L14: the answer of the next user, after the operation of another one was cut.
//!
//! An operation asks the backend for the number of its user, so an answer that belongs to another user shows itself. The
//! operation is cut at every await in turn, and the handle returns in each way that a server knows.

use std::fmt;

use reqscope::{Exit, Health, Reset, Resource, Scopes};

use super::fixture::{Fixture, HandleOf, Setup};
use super::limits::MOST_POLLS;
use super::operation::Operate;
use super::report::{Breach, Verdict};

/// What to do about an answer that belongs to another user.
const MARK: &str = "mark the handle as in flight before the first await of an operation, and let `probe` return `Dead` \
                    and `validate` fail while the mark is set";

/// What to do about a completed use that leaves something to the next user.
const LEFT_BEHIND: &str = "return `Reset::Always` from `reset`, so that a pool validates each handle, or let `probe` \
                           return `Dirty` or `Unknown` where a user has left something";

/// How a handle returns after its operation was cut.
#[derive(Clone, Copy)]
enum Back {
    Cancelled,
    Completed,
    Dropped,
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Back::Cancelled => "released as cancelled",
            Back::Completed => "released as completed",
            Back::Dropped => "dropped",
        })
    }
}

/// An operation that is not cut is answered with the number of its user. Everything else builds on this.
pub(super) async fn operation_answers_its_user<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let Some(operation) = setup.operation() else { return Ok(()) };
    let fixture = setup.fixture("an operation that is not cut");
    let mut handle = fixture.acquire().await?;
    let used = uses_well(&setup, &fixture, operation, &mut handle).await;
    used.map_err(|breach| breach.ending_the_run().advise(
        "the operation of `with_use` has to ask the backend for the number that it is passed, and to return the answer",
    ))?;
    fixture.release(handle, Exit::Completed).await?;
    fixture.end().await
}

/// The handle is released as a request does whose client has left.
pub(super) async fn cut_use_then_cancelled_spoils_no_answer<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    cut_use_spoils_no_answer(setup, Back::Cancelled).await
}

/// The handle is released as a success: the handler had a timeout of its own around the operation.
pub(super) async fn cut_use_then_completed_spoils_no_answer<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    cut_use_spoils_no_answer(setup, Back::Completed).await
}

/// The handle is dropped, without unwinding and without a release.
pub(super) async fn cut_use_then_dropped_spoils_no_answer<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    cut_use_spoils_no_answer(setup, Back::Dropped).await
}

async fn cut_use_spoils_no_answer<R: Resource>(setup: Setup<'_, R>, back: Back) -> Verdict {
    let Some(operation) = setup.operation() else { return Ok(()) };
    for polls in 0..MOST_POLLS {
        let fixture =
            setup.fixture(format!("an operation cut at poll {polls}, its handle {back}, then another user"));
        let mut handle = fixture.acquire().await?;
        let whole = cut(&setup, &fixture, operation, &mut handle, polls).await?;
        // A release may fail after this, as that of a transaction does.
        match back {
            Back::Cancelled => drop(fixture.try_release(handle, Exit::Cancelled).await?),
            Back::Completed => drop(fixture.try_release(handle, Exit::Completed).await?),
            Back::Dropped => drop(handle.into_inner()),
        }
        next_users_read_their_own(&setup, &fixture, operation).await?;
        fixture.end_with_abandoned(usize::from(matches!(back, Back::Dropped))).await?;
        if whole {
            break;
        }
    }
    Ok(())
}

/// The same handle, proved as a pool proves it before its next user.
pub(super) async fn proved_handle_spoils_no_answer<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let Some(operation) = setup.operation() else { return Ok(()) };
    for validates in [true, false] {
        let proof = if validates { "proved by validate" } else { "`Ready` by its probe" };
        for polls in 0..MOST_POLLS {
            let case = format!("an operation cut at poll {polls}, its handle {proof}, then used by another user");
            let fixture = setup.fixture(case);
            let mut handle = fixture.acquire().await?;
            let whole = cut(&setup, &fixture, operation, &mut handle, polls).await?;
            let proved = match fixture.resource.probe(&handle) {
                // It is in no doubt, and what it may keep is decided by the resource's own way back.
                _ if whole => false,
                Health::Dead => false, // it never reaches another user
                _ if validates => fixture.within("validate", fixture.resource.validate(&mut handle)).await?.is_ok(),
                health => is_proof(health),
            };
            if proved {
                uses_well(&setup, &fixture, operation, &mut handle).await?;
            }
            drop(fixture.try_release(handle, Exit::Cancelled).await?);
            fixture.end().await?;
            if whole {
                break;
            }
        }
    }
    Ok(())
}

/// A handle is used to the end, and serves another user without a validation, if the resource says that it can.
pub(super) async fn completed_use_leaves_nothing<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let Some(operation) = setup.operation() else { return Ok(()) };
    let fixture = setup.fixture("a use that ended well, then another user of the same handle without a validation");
    let mut handle = fixture.acquire().await?;
    uses_well(&setup, &fixture, operation, &mut handle).await?;
    let resource = &fixture.resource;
    let is_lent = !resource.ends_with_request() && resource.reset() == Reset::AfterDoubt;
    if is_lent && is_proof(resource.probe(&handle)) {
        let used = uses_well(&setup, &fixture, operation, &mut handle).await;
        used.map_err(|breach: Breach| breach.advise(LEFT_BEHIND))?;
    }
    fixture.release(handle, Exit::Completed).await?;
    fixture.end().await
}

/// Returns whether a pool lends a handle on the word of its probe, after a completed use.
fn is_proof(health: Health) -> bool {
    matches!(health, Health::Clean | Health::Ready)
}

/// A whole request is cut at every await in turn: in its acquire, its operation or its close.
pub(super) async fn cut_request_spoils_no_answer<R: Resource>(setup: Setup<'_, R>) -> Verdict {
    let Some(operation) = setup.operation() else { return Ok(()) };
    for polls in 0..MOST_POLLS {
        let fixture =
            setup.fixture(format!("a request that uses its handle, cut at poll {polls}, then another user"));
        let scopes = Scopes::new();
        let user = setup.next_user();
        let request = async {
            let scope = scopes.open();
            let answer = match scope.lazy(&fixture.resource).get().await {
                Ok(mut guard) => operation.operate(guard.get_mut(), user).await,
                Err(error) => Err(error.to_string()),
            };
            let closed = scope.close(Exit::Completed).await;
            answer.and_then(|number| closed.map(|()| number).map_err(|error| error.to_string()))
        };
        let answer = fixture.cut("the request", polls, request).await?;
        if let Some(answer) = &answer {
            expect_own(&fixture, user, answer)?;
        }
        next_users_read_their_own(&setup, &fixture, operation).await?;
        fixture.drained(&scopes).await?;
        fixture.end().await?;
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}

/// Operates for a user of its own, up to this poll, and returns whether the operation ended.
async fn cut<R: Resource>(
    setup: &Setup<'_, R>,
    fixture: &Fixture<'_, R>,
    operation: &dyn Operate<R::Handle>,
    handle: &mut HandleOf<R>,
    polls: usize,
) -> Result<bool, Breach> {
    let user = setup.next_user();
    let answer = fixture.cut("the use", polls, operation.operate(handle.get_mut(), user)).await?;
    let Some(answer) = answer else { return Ok(false) };
    expect_own(fixture, user, &answer)?;
    Ok(true)
}

/// Acquires for two users, one after the other.
async fn next_users_read_their_own<R: Resource>(
    setup: &Setup<'_, R>,
    fixture: &Fixture<'_, R>,
    operation: &dyn Operate<R::Handle>,
) -> Verdict {
    for _ in 0..2 {
        let mut handle = fixture.acquire().await?;
        uses_well(setup, fixture, operation, &mut handle).await?;
        fixture.release(handle, Exit::Completed).await?;
    }
    Ok(())
}

/// Operates twice for one user: the second answer may still belong to another one.
async fn uses_well<R: Resource>(
    setup: &Setup<'_, R>,
    fixture: &Fixture<'_, R>,
    operation: &dyn Operate<R::Handle>,
    handle: &mut HandleOf<R>,
) -> Verdict {
    let user = setup.next_user();
    for _ in 0..2 {
        let answer = fixture.within("the use", operation.operate(handle.get_mut(), user)).await?;
        expect_own(fixture, user, &answer)?;
    }
    Ok(())
}

fn expect_own<R: Resource>(fixture: &Fixture<'_, R>, user: u32, answer: &Result<u32, String>) -> Verdict {
    let seen = match answer {
        Ok(number) if *number == user => return Ok(()),
        Ok(number) => format!("the operation of user {user} was answered with {number}"),
        Err(error) => format!("the operation of user {user} failed: {error}"),
    };
    fixture.breach(seen).map_err(|breach: Breach| breach.advise(MARK))
}
