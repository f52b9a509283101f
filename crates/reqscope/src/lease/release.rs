use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::error::{Error, Stage};
use crate::exit::Exit;
use crate::observer::Abandoned;
use crate::reaper::account::Account;
use crate::resource::Resource;
use crate::rt::catch::{self, QuietArc};
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;

type ReleaseFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A running release, which owns the handle.
///
/// However it ends, it closes the account of its handle once. It does **not** hand itself to the reaper when it is
/// dropped; its owners do that, once.
pub(crate) struct Releasing<R: Resource> {
    running: Option<Running<R>>,
    exit: Exit,
    deadline: Deadline,
}

struct Running<R: Resource> {
    /// Owns the handle, and what ends with it.
    future: ReleaseFuture<Result<(), Error<R::Cause>>>,
    account: Account<R>,
}

impl<R: Resource> Releasing<R> {
    /// Begins a release. Returns `None` if the resource reclaims the handle at once, so that nothing is left to run.
    ///
    /// `deadline` is called only if the release has to wait, with the reaper's release timeout.
    #[inline]
    pub(crate) fn start(
        resource: &QuietArc<R>,
        handle: R::Handle,
        account: Account<R>,
        exit: Exit,
        deadline: impl FnOnce(Duration) -> Deadline,
    ) -> Result<Option<Self>, Error<R::Cause>> {
        Self::start_with((), resource, handle, account, exit, deadline)
    }

    /// Begins a release as [`start`](Self::start) does, and drops `attached` after the handle and before the account is
    /// closed. A drain that ends has waited for it.
    #[inline]
    pub(crate) fn start_with(
        attached: impl Send + 'static,
        resource: &QuietArc<R>,
        handle: R::Handle,
        mut account: Account<R>,
        exit: Exit,
        deadline: impl FnOnce(Duration) -> Deadline,
    ) -> Result<Option<Self>, Error<R::Cause>> {
        match catch::call(|| resource.reclaim(handle, exit)) {
            Ok(Ok(())) => {
                drop(attached);
                account.released(exit);
                Ok(None)
            }
            Ok(Err(handle)) => {
                account.begin_release(exit);
                let deadline = deadline(account.accounting().limits.release);
                let resource = resource.clone();
                let future = Box::pin(async move {
                    // A future that is cut drops these in the order of their use, too.
                    let outcome = resource.release(handle, exit).await;
                    drop(attached);
                    outcome
                });
                Ok(Some(Releasing { running: Some(Running { future, account }), exit, deadline }))
            }
            Err(panic) => {
                drop(attached);
                let error = Error::panicked(Stage::Releasing, panic.payload());
                account.release_failed(exit, &error);
                Err(error)
            }
        }
    }
}

impl<R: Resource> Future for Releasing<R> {
    type Output = Result<(), Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let exit = this.exit;
        let Some(running) = &mut this.running else {
            return Poll::Ready(Ok(()));
        };
        let error = match catch::call(|| running.future.as_mut().poll(cx)) {
            Ok(Poll::Ready(Ok(()))) => {
                if let Some(account) = this.finish() {
                    account.released(exit);
                }
                return Poll::Ready(Ok(()));
            }
            Ok(Poll::Ready(Err(error))) if error.stage().is_some() => error,
            Ok(Poll::Ready(Err(error))) => error.at(Stage::Releasing),
            Err(panic) => Error::panicked(Stage::Releasing, panic.payload()),
            Ok(Poll::Pending) => {
                let error = ready!(this.deadline.poll_missed(Stage::Releasing, cx));
                if !error.is_timeout() && this.move_home() {
                    return Poll::Ready(Err(error));
                }
                let why = if error.is_timeout() { Abandoned::Deadline } else { Abandoned::NoRuntime };
                if let Some(account) = this.finish() {
                    account.abandoned(exit, why);
                }
                return Poll::Ready(Err(error));
            }
        };
        if let Some(account) = this.finish() {
            account.release_failed(exit, &error);
        }
        Poll::Ready(Err(error))
    }
}

impl<R: Resource> Releasing<R> {
    /// Returns the runtime on which the handle was acquired.
    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.running.as_ref().and_then(|running| running.account.runtime())
    }

    /// Moves the release to the runtime on which the handle was acquired, because no deadline can be kept here. Returns
    /// `false` if it is there already, or there is none.
    #[cold]
    fn move_home(&mut self) -> bool {
        let Some(home) = self.runtime().cloned() else { return false };
        if Runtime::try_current().is_ok_and(|here| here.id() == home.id()) {
            return false;
        }
        let moved = Releasing { running: self.running.take(), exit: self.exit, deadline: self.deadline.duplicate() };
        // Its errors are reported to the observer. If that runtime has ended, it drops the release.
        drop(home.spawn(async move { drop(moved.await) }));
        true
    }

    /// Takes the account, to be closed. Drops the user's future first, so that nothing of the handle is left when its
    /// release is reported.
    fn finish(&mut self) -> Option<Account<R>> {
        self.running.take().map(|Running { future, account }| {
            catch::drop_quietly(future);
            account
        })
    }
}

impl<R: Resource> Drop for Releasing<R> {
    fn drop(&mut self) {
        // The account is dropped open, and counts the handle as abandoned.
        drop(self.finish());
    }
}
