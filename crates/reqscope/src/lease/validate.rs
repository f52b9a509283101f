//! A validation, with its deadline.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::error::{Error, Stage};
use crate::resource::{Health, Resource};
use crate::rt::catch::Caught;
use crate::rt::time::Deadline;

/// Validates a handle until the deadline that `waits` returns, which is called if the resource is not ready at once. A
/// handle that is dead is not validated, and a panic is an error.
#[expect(clippy::manual_async_fn, reason = "an `async fn` moves its arguments once more, within its frame")]
#[inline]
pub(crate) fn validate<R: Resource>(
    resource: &R,
    handle: &mut R::Handle,
    mut waits: impl FnMut() -> Deadline + Send,
) -> impl Future<Output = Result<(), Error<R::Cause>>> + Send {
    async move {
        // A block, so that the calls themselves, which may panic, are part of the first poll.
        let mut validation = pin!(Caught::new(async move {
            if resource.probe(handle) == Health::Dead {
                return Err(Error::unavailable().with_context("the handle was dead"));
            }
            resource.validate(handle).await
        }));
        let mut deadline = None;
        poll_fn(|cx| match validation.as_mut().poll(cx) {
            Poll::Ready(Ok(outcome)) => Poll::Ready(outcome.map_err(|error| error.at(Stage::Validating))),
            Poll::Ready(Err(panic)) => Poll::Ready(Err(Error::panicked(Stage::Validating, panic.payload()))),
            Poll::Pending => {
                let deadline = deadline.get_or_insert_with(|| Box::new(waits()));
                deadline.poll_missed(Stage::Validating, cx).map(Err)
            }
        })
        .await
    }
}
