use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use crate::details::Details;
use crate::error::{Error, Stage};
use crate::lease::Lease;
use crate::lease::context::{AcquireContext, Origin};
use crate::reaper::Reaper;
use crate::reaper::account::Acquiring;
use crate::resource::Resource;
use crate::rt::catch::{self, QuietArc};
use crate::rt::runtime::{AbortHandle, Runtime};
use crate::rt::time::{self, Deadline};

/// These constructors are here, and not in `lease/mod.rs`, because an acquisition creates leases, and a lease does not
/// need to know about acquisitions.
impl<R: Resource> Lease<R> {
    /// Acquires a handle of `resource`.
    ///
    /// Inside of the `acquire` of another resource, the lease belongs to the reaper of that acquisition, so that the
    /// drain of a scope waits for it. Elsewhere, and in a task that such an `acquire` spawns, it belongs to
    /// [`Reaper::global`].
    ///
    /// # Errors
    ///
    /// - the error that [`Resource::acquire`] returned
    /// - [`is_panicked`](Error::is_panicked) if it panicked
    /// - [`is_timeout`](Error::is_timeout) after the reaper's
    ///   [acquire timeout](crate::reaper::ReaperBuilder::acquire_timeout) (60 s by default)
    /// - an error that says so, if the acquisition has to wait and there is no tokio runtime with timers
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the acquisition is dropped with it, and cleans up what it has half-made (law L3).
    #[track_caller]
    pub fn acquire(resource: &Arc<R>) -> impl Future<Output = Result<Self, Error<R::Cause>>> + Send + use<R> {
        Self::acquire_from(resource, Location::caller())
    }

    /// Acquires a handle of `resource` for a caller at another line of code, which events and messages show.
    ///
    /// For an async function that acquires for its caller. `#[track_caller]` has no effect on an `async fn`, so write a
    /// function that returns a future, and look at [`Location::caller`] before the future begins. Otherwise this is
    /// [`acquire`](Lease::acquire).
    ///
    /// # Errors
    ///
    /// The same as those of [`acquire`](Lease::acquire).
    ///
    /// # Cancel safety
    ///
    /// The same as that of [`acquire`](Lease::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use reqscope::{Error, Lease, Resource};
    /// use std::{panic::Location, sync::Arc};
    ///
    /// /// Acquires a handle, and tries a second time if that fails.
    /// #[track_caller]
    /// fn acquire_twice<R: Resource>(
    ///     resource: &Arc<R>,
    /// ) -> impl Future<Output = Result<Lease<R>, Error<R::Cause>>> + use<'_, R> {
    ///     let caller = Location::caller();
    ///     async move {
    ///         match Lease::acquire_from(resource, caller).await {
    ///             Err(error) if !error.is_permanent() => Lease::acquire_from(resource, caller).await,
    ///             outcome => outcome,
    ///         }
    ///     }
    /// }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let failing = Arc::new(reqscope::resource_fn(|| async { Err::<(), _>(Error::failed(std::io::Error::other(""))) }));
    /// # assert!(acquire_twice(&failing).await.is_err());
    /// # });
    /// ```
    pub fn acquire_from(
        resource: &Arc<R>,
        taken_at: &'static Location<'static>,
    ) -> impl Future<Output = Result<Self, Error<R::Cause>>> + Send + use<R> {
        let origin = Origin { taken_at, scope: None };
        let outside = || AcquireContext { shard: Reaper::global().own_shard(), details: Details::NONE, origin };
        let context = AcquireContext::current().map_or_else(outside, AcquireContext::inner);
        Self::acquire_under(context, QuietArc::new(resource))
    }

    /// Acquires a handle of `resource` with the timeouts, the observer and the counters of `reaper`.
    ///
    /// Inside of the `acquire` of another resource, the line of code that took the handle is that of the outermost call.
    ///
    /// # Errors
    ///
    /// The same as those of [`acquire`](Lease::acquire), with the timeout of that reaper.
    ///
    /// # Cancel safety
    ///
    /// The same as that of [`acquire`](Lease::acquire).
    #[track_caller]
    pub fn acquire_in(
        reaper: &Reaper,
        resource: &Arc<R>,
    ) -> impl Future<Output = Result<Self, Error<R::Cause>>> + Send + use<R> {
        let origin = Origin::current().unwrap_or(Origin { taken_at: Location::caller(), scope: None });
        Self::acquire_at(reaper, &QuietArc::new(resource), origin)
    }

    /// Does the same for a caller that is not the one of this function.
    pub(crate) fn acquire_at(
        reaper: &Reaper,
        resource: &QuietArc<R>,
        origin: Origin,
    ) -> impl Future<Output = Result<Self, Error<R::Cause>>> + Send + use<R> {
        let context = AcquireContext { shard: reaper.own_shard(), details: Details::NONE, origin };
        Self::acquire_under(context, resource.clone())
    }

    async fn acquire_under(context: AcquireContext, resource: QuietArc<R>) -> Result<Self, Error<R::Cause>> {
        match Acquisition::<R>::try_acquire(&resource, context) {
            TryAcquire::Acquired(handle, context) => Ok(Lease::new(handle, resource, context.open(Duration::ZERO))),
            TryAcquire::Failed(error) => Err(error),
            TryAcquire::NotReady(context) => Acquisition::new(resource, context).await,
        }
    }
}

type AcquireFuture<R> =
    Pin<Box<dyn Future<Output = Result<<R as Resource>::Handle, Error<<R as Resource>::Cause>>> + Send>>;

/// One acquisition: the resource's own future, under a deadline, with panics turned into errors.
///
/// If it is dropped, it drops that future, which cleans up what it has half-made (law L3).
pub(crate) struct Acquisition<R: Resource> {
    /// `None` after it has ended.
    future: Option<AcquireFuture<R>>,
    resource: QuietArc<R>,
    /// `None` only while the context is entered.
    context: Option<AcquireContext>,
    deadline: Deadline,
}

/// The result of [`Acquisition::try_acquire`].
pub(crate) enum TryAcquire<R: Resource> {
    Acquired(R::Handle, AcquireContext),
    Failed(Error<R::Cause>),
    /// No handle is ready. Returns the context, for an acquisition that waits.
    NotReady(AcquireContext),
}

impl<R: Resource> Acquisition<R> {
    /// Acquires a handle without waiting, if one is ready.
    #[inline(always)]
    pub(crate) fn try_acquire(resource: &R, context: AcquireContext) -> TryAcquire<R> {
        if let Some(late) = context.refuse_late() {
            context.report_failed_attempt::<R>(&late);
            return TryAcquire::Failed(late);
        }
        let (answer, context) = context.call(|| resource.try_acquire());
        match answer {
            Ok(None) => TryAcquire::NotReady(context),
            Ok(Some(handle)) => TryAcquire::Acquired(handle, context),
            Err(panic) => {
                let error = Error::panicked(Stage::Acquiring, panic.payload());
                context.report_failed_attempt::<R>(&error);
                TryAcquire::Failed(error)
            }
        }
    }

    pub(crate) fn new(resource: QuietArc<R>, context: AcquireContext) -> Self {
        let deadline = context.limit();
        let maker = resource.clone();
        let future: AcquireFuture<R> = Box::pin(async move { maker.acquire().await });
        Acquisition { future: Some(future), resource, context: Some(context), deadline }
    }

    /// Ends the acquisition with an error, which is reported to the observer.
    fn fail(&mut self, error: Error<R::Cause>) -> Error<R::Cause> {
        // The half-made handle is dropped before the failure is visible, because a waiter may try again then.
        catch::drop_quietly(self.future.take());
        if let Some(context) = &self.context {
            context.report_failed_attempt::<R>(&error);
        }
        error
    }
}

impl<R: Resource> Future for Acquisition<R> {
    type Output = Result<Lease<R>, Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (Some(future), Some(context)) = (&mut this.future, this.context.take()) else {
            return Poll::Ready(Err(Error::closed()));
        };
        let (answer, context) = context.call(|| future.as_mut().poll(cx));
        let error = match answer {
            Ok(Poll::Ready(Ok(handle))) => {
                catch::drop_quietly(this.future.take());
                let account = context.open(this.deadline.elapsed());
                return Poll::Ready(Ok(Lease::new(handle, this.resource.clone(), account)));
            }
            Ok(Poll::Ready(Err(error))) if error.stage().is_some() => error,
            Ok(Poll::Ready(Err(error))) => error.at(Stage::Acquiring),
            Err(panic) => Error::panicked(Stage::Acquiring, panic.payload()),
            Ok(Poll::Pending) => match this.deadline.poll_missed(Stage::Acquiring, cx) {
                Poll::Ready(missed) => missed,
                Poll::Pending => {
                    this.context = Some(context);
                    return Poll::Pending;
                }
            },
        };
        this.context = Some(context);
        Poll::Ready(Err(this.fail(error)))
    }
}

impl<R: Resource> Drop for Acquisition<R> {
    fn drop(&mut self) {
        catch::drop_quietly(self.future.take());
    }
}

/// How long a waiter waits after the deadline of an attempt, so that the error of the attempt itself, which is more
/// specific, comes first.
pub(crate) const GRACE: Duration = Duration::from_millis(10);

/// Why an attempt did not keep its own deadline, and a waiter had to give it up.
pub(crate) const NOT_DRIVEN: &str = "the runtime that began the acquisition is blocked or not driven";

/// The receiver of an acquisition that runs in a task of its own: a cell and what surrounds it.
pub(crate) trait Sink<R: Resource>: Send + Sync + 'static {
    /// Receives the handle, for the waiter that is polled first. If the cell is sealed, the handle is late.
    fn deliver(&self, attempt: u32, lease: Lease<R>);

    /// Passes the error of the attempt to its waiters, or only to the caller that began it if the attempt [was
    /// lost](is_lost); the others begin again then. Returns `false` if the attempt had already ended.
    fn fail(&self, attempt: u32, error: &Error<R::Cause>) -> bool;

    /// Stores how to cancel the attempt. Returns it if the attempt has ended; the caller then cancels it.
    fn set_cancel(&self, attempt: u32, cancel: AbortHandle) -> Option<AbortHandle>;
}

/// Returns whether an attempt has failed because of where its caller polled it: outside of any runtime, on one without
/// timers, or on one that was shutting down. This says nothing about the resource, so it must not fail the callers that
/// wait elsewhere (L18).
pub(crate) fn is_lost<C>(error: &Error<C>) -> bool {
    // A resource that uses a timer or a socket outside of a runtime panics. On a runtime with timers and without I/O,
    // only tokio's message tells that it is not the fault of the resource.
    error.is_runtime() || error.is_panicked() && (!time::has_timers() || error.to_string().contains("Tokio 1.x"))
}

/// An attempt of a cell for which [`Acquisition::try_acquire`] returned no handle.
pub(crate) struct PendingAttempt {
    pub(crate) number: u32,
    pub(crate) counted: Acquiring,
    pub(crate) context: AcquireContext,
}

/// Acquires a handle: by one poll in place, else in a task of its own, so that a waiter that is dropped or not polled
/// does not block the others (law L5).
///
/// Returns `None` if the acquisition moved to a task, which passes its result to `sink`. `enqueue` is called with the
/// caller's waker before that task is spawned, because the task may end, or a runtime that is shutting down may drop
/// it, before `spawn` returns.
pub(crate) fn begin<R: Resource, S: Sink<R>>(
    sink: &Arc<S>,
    resource: &QuietArc<R>,
    attempt: PendingAttempt,
    enqueue: impl FnOnce(&Waker),
    cx: &mut Context<'_>,
) -> Option<Result<Lease<R>, Error<R::Cause>>> {
    let PendingAttempt { number, counted, context } = attempt;
    let mut acquisition = Acquisition::new(resource.clone(), context);
    if let Poll::Ready(outcome) = Pin::new(&mut acquisition).poll(cx) {
        return Some(outcome);
    }
    let Ok(runtime) = Runtime::try_current() else {
        let missing = Error::runtime("an acquisition that waits needs a tokio runtime").at(Stage::Acquiring);
        return Some(Err(acquisition.fail(missing)));
    };
    enqueue(cx.waker());
    // The acquisition was polled with the caller's waker. The task polls it again first, so no wake-up is lost.
    let task = AcquireTask {
        acquisition: Some(acquisition),
        sink: Some(Arc::clone(sink)),
        attempt: number,
        _counted: counted,
    };
    #[cfg(feature = "tracing")]
    let task = tracing::Instrument::in_current_span(task);
    let task = runtime.spawn(task).abort_handle();
    if let Some(cancel) = sink.set_cancel(number, task) {
        // Either the attempt has ended, and this has no effect, or the cell was sealed before it knew how to cancel the
        // attempt.
        cancel.abort();
    }
    None
}

/// The task of an acquisition, which passes the result to the sink, even if the task is dropped before its end.
struct AcquireTask<R: Resource, S: Sink<R>> {
    acquisition: Option<Acquisition<R>>,
    sink: Option<Arc<S>>,
    attempt: u32,
    /// Dropped after the result has been passed on: a drain waits for that.
    _counted: Acquiring,
}

impl<R: Resource, S: Sink<R>> Future for AcquireTask<R, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (Some(acquisition), Some(sink)) = (&mut this.acquisition, &this.sink) else { return Poll::Ready(()) };
        let outcome = ready!(Pin::new(acquisition).poll(cx));
        // The acquisition is dropped first, because a waiter may begin the next one as soon as it gets the result.
        this.acquisition = None;
        match outcome {
            Ok(lease) => sink.deliver(this.attempt, lease),
            Err(error) => {
                sink.fail(this.attempt, &error);
            }
        }
        this.sink = None;
        Poll::Ready(())
    }
}

impl<R: Resource, S: Sink<R>> Drop for AcquireTask<R, S> {
    fn drop(&mut self) {
        let (Some(mut acquisition), Some(sink)) = (self.acquisition.take(), self.sink.take()) else { return };
        // Dropped before the cell begins the next attempt.
        catch::drop_quietly(acquisition.future.take());
        let error = Error::runtime("the runtime that ran the acquisition has ended").at(Stage::Acquiring);
        if sink.fail(self.attempt, &error) {
            // The task was dropped by its runtime. Otherwise it was cancelled, because the cell was sealed or its
            // waiters gave the attempt up, and nothing has failed.
            acquisition.fail(error);
        }
    }
}
