use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use crate::error::{Error, Stage};
use crate::lease::Lease;
use crate::lease::context::{AcquireContext, Origin};
use crate::observer::Subject;
use crate::reaper::Reaper;
use crate::reaper::account::Acquiring;
use crate::resource::Resource;
use crate::rt::catch;
use crate::rt::runtime::{AbortHandle, Runtime};
use crate::rt::time::Deadline;

/// How a lease begins. It stands here, since an acquisition makes leases and a lease needs to know no acquisition.
impl<R: Resource> Lease<R> {
    /// Acquires a handle of `resource`.
    ///
    /// Inside the `acquire` of another resource it belongs to the books of whoever acquires that one, so that a
    /// scope's drain knows of it; elsewhere, and in a task that such an `acquire` spawns, to those of
    /// [`Reaper::global`].
    ///
    /// # Errors
    ///
    /// Those of [`Resource::acquire`]; a panic in it; a timeout after the reaper's
    /// [acquire timeout](crate::reaper::ReaperBuilder::acquire_timeout) (60 s by default); and if it has to
    /// wait where there is no tokio runtime with timers, an error that says so.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the acquisition, which owns what it has half-made (law L3).
    #[track_caller]
    pub fn acquire(resource: &Arc<R>) -> impl Future<Output = Result<Self, Error<R::Cause>>> + Send + use<R> {
        let origin = Origin { taken_at: Location::caller(), scope: None };
        let context =
            AcquireContext::current().unwrap_or_else(|| AcquireContext { reaper: Reaper::global().clone(), origin });
        Self::acquire_under(context, Arc::clone(resource))
    }

    /// The same, under the deadlines, the observer and the books of `reaper`.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Lease::acquire), after the deadline of that reaper.
    ///
    /// # Cancel safety
    ///
    /// That of [`acquire`](Lease::acquire).
    #[track_caller]
    pub fn acquire_in(
        reaper: &Reaper,
        resource: &Arc<R>,
    ) -> impl Future<Output = Result<Self, Error<R::Cause>>> + Send + use<R> {
        let origin = Origin { taken_at: Location::caller(), scope: None };
        let context = AcquireContext { reaper: reaper.clone(), origin };
        Self::acquire_under(context, Arc::clone(resource))
    }

    async fn acquire_under(context: AcquireContext, resource: Arc<R>) -> Result<Self, Error<R::Cause>> {
        match Acquisition::<R>::try_acquire(&resource, context) {
            TryAcquire::Acquired(handle, context) => Ok(Lease::new(handle, resource, context.open(Duration::ZERO))),
            TryAcquire::Failed(error) => Err(error),
            TryAcquire::NotReady(context) => Acquisition::new(resource, context).await,
        }
    }
}

type AcquireFuture<R> = Pin<Box<dyn Future<Output = Outcome<R, <R as Resource>::Handle>> + Send>>;
type Outcome<R, T> = Result<T, Error<<R as Resource>::Cause>>;

/// A handle that is being made: the resource's own future, under a deadline, with panics turned into errors.
///
/// Dropping it drops that future, which owns what it has half-made (law L3).
pub(crate) struct Acquisition<R: Resource> {
    /// `None` after the end.
    future: Option<AcquireFuture<R>>,
    resource: Arc<R>,
    /// `None` only while they are entered.
    context: Option<AcquireContext>,
    deadline: Deadline,
}

/// What came of asking for a handle that needs no waiting for.
pub(crate) enum TryAcquire<R: Resource> {
    Acquired(R::Handle, AcquireContext),
    Failed(Error<R::Cause>),
    /// There is none. With the surroundings, for whoever waits for one.
    NotReady(AcquireContext),
}

impl<R: Resource> Acquisition<R> {
    /// A handle that needs no waiting for, if there is one.
    #[inline]
    pub(crate) fn try_acquire(resource: &R, context: AcquireContext) -> TryAcquire<R> {
        let (answer, context) = context.enter(|| resource.try_acquire());
        match answer {
            Ok(None) => TryAcquire::NotReady(context),
            Ok(Some(handle)) => TryAcquire::Acquired(handle, context),
            Err(panic) => {
                let error = Error::panicked(Stage::Acquiring, panic.payload());
                report_failure::<R>(&context, &error);
                TryAcquire::Failed(error)
            }
        }
    }

    pub(crate) fn new(resource: Arc<R>, context: AcquireContext) -> Self {
        let deadline = Deadline::after(context.reaper.accounting().limits.acquire);
        let maker = Arc::clone(&resource);
        let future: AcquireFuture<R> = Box::pin(async move { maker.acquire().await });
        Acquisition { future: Some(future), resource, context: Some(context), deadline }
    }

    /// Ends it with an error, of which the observer hears.
    fn fail(&mut self, error: Error<R::Cause>) -> Error<R::Cause> {
        // The half-made thing goes before anybody hears of the failure and tries again.
        catch::drop_quietly(self.future.take());
        if let Some(context) = &self.context {
            report_failure::<R>(context, &error);
        }
        error
    }
}

fn report_failure<R: Resource>(context: &AcquireContext, error: &Error<R::Cause>) {
    context.reaper.accounting().acquire_failed(Subject::of::<R>(context.origin.taken_at), error);
}

impl<R: Resource> Future for Acquisition<R> {
    type Output = Result<Lease<R>, Error<R::Cause>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (Some(future), Some(context)) = (&mut this.future, this.context.take()) else {
            return Poll::Ready(Err(Error::closed()));
        };
        let (answer, context) = context.enter(|| future.as_mut().poll(cx));
        let error = match answer {
            Ok(Poll::Ready(Ok(handle))) => {
                catch::drop_quietly(this.future.take());
                let account = context.open(this.deadline.elapsed());
                return Poll::Ready(Ok(Lease::new(handle, Arc::clone(&this.resource), account)));
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

/// Whoever waits for an acquisition that has a task of its own: a cell, and what stands around it.
pub(crate) trait Sink<R: Resource>: Send + Sync + 'static {
    /// Takes what the attempt brought, for whoever is polled first. Or it is late.
    fn deliver(&self, attempt: u32, lease: Lease<R>);

    /// Tells those who wait for it that the attempt failed. `false`: it had ended before.
    fn fail(&self, attempt: u32, error: &Error<R::Cause>) -> bool;

    /// Learns how to cancel it. `Some`: it is over already, or must be cancelled by the caller.
    fn set_cancel(&self, attempt: u32, cancel: AbortHandle) -> Option<AbortHandle>;
}

/// An attempt of a cell that has found nothing [`at_once`](Acquisition::at_once).
pub(crate) struct PendingAttempt {
    pub(crate) number: u32,
    pub(crate) counted: Acquiring,
    pub(crate) context: AcquireContext,
}

/// Makes a handle: by one poll in place, else in a task of its own, so that no single waiter, dropped or not polled,
/// holds up the others (law L5).
///
/// `None`: it went to a task, and `sink` will hear how it ended. Before that task exists `enlist` is called, with
/// the caller's waker: a task may end, and a runtime that shuts down may refuse it, before the next line.
pub(crate) fn begin<R: Resource, S: Sink<R>>(
    sink: &Arc<S>,
    resource: &Arc<R>,
    attempt: PendingAttempt,
    enqueue: impl FnOnce(&Waker),
    cx: &mut Context<'_>,
) -> Option<Result<Lease<R>, Error<R::Cause>>> {
    let PendingAttempt { number, counted, context } = attempt;
    let mut acquisition = Acquisition::new(Arc::clone(resource), context);
    if let Poll::Ready(outcome) = Pin::new(&mut acquisition).poll(cx) {
        return Some(outcome);
    }
    let Ok(runtime) = Runtime::try_current() else {
        let missing = Error::runtime("an acquisition that waits needs a tokio runtime").at(Stage::Acquiring);
        return Some(Err(acquisition.fail(missing)));
    };
    enqueue(cx.waker());
    // The caller's waker is registered with the acquisition now. The task polls it again before anything else, so
    // no wake-up is lost.
    let task = AcquireTask {
        acquisition: Some(acquisition),
        sink: Some(Arc::clone(sink)),
        attempt: number,
        _counted: counted,
    };
    #[cfg(feature = "tracing")]
    let task = tracing::Instrument::in_current_span(task);
    if let Some(cancel) = sink.set_cancel(number, runtime.spawn(task).abort_handle()) {
        // Over already, where this does nothing; or the cell was sealed before we could say how to cancel.
        cancel.abort();
    }
    None
}

/// The task: it carries the acquisition to its end and delivers, also when it is cut off.
struct AcquireTask<R: Resource, S: Sink<R>> {
    acquisition: Option<Acquisition<R>>,
    sink: Option<Arc<S>>,
    attempt: u32,
    /// Dropped after all has been delivered: a drain waits for that.
    _counted: Acquiring,
}

impl<R: Resource, S: Sink<R>> Future for AcquireTask<R, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (Some(acquisition), Some(sink)) = (&mut this.acquisition, &this.sink) else { return Poll::Ready(()) };
        let outcome = ready!(Pin::new(acquisition).poll(cx));
        // The acquisition goes first: who waits may start the next one the moment it hears.
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
        // Before the cell begins the next one.
        catch::drop_quietly(acquisition.future.take());
        let error = Error::runtime("the runtime that ran the acquisition has ended").at(Stage::Acquiring);
        if sink.fail(self.attempt, &error) {
            // Cut off. Else it was cancelled, because the cell was sealed, and nothing has failed.
            acquisition.fail(error);
        }
    }
}
