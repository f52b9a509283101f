//! How the lease of a body ends: its release, and the work that follows it.

use std::any::type_name;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use reqscope::future::Release;
use reqscope::{Error, Exit, Lease, Resource};
use tokio::sync::oneshot;

use crate::LeaseBodyError;
use crate::report::release_failed;
use crate::unwind::QuietFuture;

/// A future of [`LeaseBody::on_completed`](crate::LeaseBody::on_completed), and the line of code that passed it.
pub(crate) type Work = (QuietFuture, &'static Location<'static>);

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A release that the body waits for.
pub(crate) struct Settling<R: Resource> {
    exit: Exit,
    awaited: Awaited<R>,
}

enum Awaited<R: Resource> {
    /// Boxed, because it leaves the body if the body is dropped before.
    Here(Pin<Box<Release<R>>>),
    /// A task waits for it, because work follows.
    InTask(oneshot::Receiver<Result<(), Error<R::Cause>>>),
    Done,
}

/// Ends a lease, and runs `work` if it is completed and its release succeeds. Returns the release if the body must wait
/// for it.
pub(crate) fn end<R: Resource>(lease: Lease<R>, exit: Exit, work: Vec<Work>) -> Option<Settling<R>> {
    let settles = Lease::resource(&lease).settles(exit);
    if exit.is_completed() && !work.is_empty() {
        let outcome = end_in_task(lease, work);
        return settles.then_some(Settling { exit, awaited: Awaited::InTask(outcome) });
    }
    // From here on the reaper owns the release, no matter whether its future is awaited or dropped.
    let release = Lease::end(lease, exit);
    drop(work);
    settles.then(|| Settling { exit, awaited: Awaited::Here(Box::pin(release)) })
}

/// Ends a lease as `Completed` in a task of its reaper, which a drain waits for from now on.
fn end_in_task<R: Resource>(lease: Lease<R>, work: Vec<Work>) -> oneshot::Receiver<Result<(), Error<R::Cause>>> {
    let (send, outcome) = oneshot::channel();
    let reaper = Lease::reaper(&lease);
    let at = Lease::taken_at(&lease);
    let release = Lease::end(lease, Exit::Completed);
    let succeeded = Arc::new(AtomicBool::new(false));
    let first = {
        let succeeded = Arc::clone(&succeeded);
        async move {
            let released = release.await;
            succeeded.store(released.is_ok(), Relaxed); // read in the same task
            if let Err(Err(error)) = send.send(released) {
                release_failed(type_name::<R>(), &error, true);
            }
        }
    };
    let work = work.into_iter().map(|(work, at)| -> (Boxed, _) {
        let succeeded = Arc::clone(&succeeded);
        let after = async move {
            if succeeded.load(Relaxed) {
                work.await;
            }
        };
        (Box::pin(after), at)
    });
    reaper.spawn_in_order(Some((Box::pin(first), at)), work);
    outcome
}

impl<R: Resource> Settling<R> {
    /// Returns the exit that was passed to the release.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Waits for the release.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LeaseBodyError<R::Cause>>> {
        let released = match &mut self.awaited {
            Awaited::Here(release) => ready!(release.as_mut().poll(cx)),
            Awaited::InTask(outcome) => match ready!(Pin::new(outcome).poll(cx)) {
                Ok(released) => released,
                Err(_) => return Poll::Ready(Err(LeaseBodyError::Body(LOST.into()))),
            },
            Awaited::Done => Ok(()),
        };
        self.awaited = Awaited::Done;
        Poll::Ready(released.map_err(|error| {
            release_failed(type_name::<R>(), &error, false);
            LeaseBodyError::Release(error)
        }))
    }
}

#[cfg(feature = "tracing")]
impl<R: Resource> Drop for Settling<R> {
    fn drop(&mut self) {
        let release = match std::mem::replace(&mut self.awaited, Awaited::Done) {
            Awaited::Here(release) => release,
            Awaited::InTask(mut outcome) => {
                // If the task comes later, it finds the channel closed and reports the error itself.
                outcome.close();
                if let Ok(Err(error)) = outcome.try_recv() {
                    release_failed(type_name::<R>(), &error, true);
                }
                return;
            }
            Awaited::Done => return,
        };
        // Otherwise the release goes to the reaper, and its error to the observer alone.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move {
                if let Err(error) = release.await {
                    release_failed(type_name::<R>(), &error, true);
                }
            }));
        }
    }
}

/// Whether it has succeeded is unknown, so the response must not be complete.
const LOST: &str = "the task that waited for the release of the handle has ended before it";
