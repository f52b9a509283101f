//! Work that follows a request: each future bounded, its failure reported, and a drain waits for it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::error::{Error, Stage};
use crate::reaper::account::{Accounting, TaskCount};
use crate::rt::catch::{self, Quiet};
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;

/// A future that runs after a request, and the line of code that passed it to us.
pub(crate) struct Work {
    /// Each is quiet by itself: of two that panic in the drop of a list, the second would abort the process.
    future: Quiet<Pin<Box<dyn Future<Output = ()> + Send>>>,
    spawned_at: &'static Location<'static>,
    /// Whether the limit of tasks applies. A release has one of its own, and must not be cut before it.
    is_limited: bool,
}

impl Work {
    pub(crate) fn new(
        future: Pin<Box<dyn Future<Output = ()> + Send>>,
        spawned_at: &'static Location<'static>,
    ) -> Self {
        Work { future: Quiet::new(future), spawned_at, is_limited: true }
    }

    /// Removes the limit, for a future that ends by itself.
    pub(crate) fn unlimited(self) -> Self {
        Work { is_limited: false, ..self }
    }
}

/// Runs futures one after the other, in a task of the reaper. If it is dropped, it reports those that have not ended.
pub(crate) struct WorkTask {
    accounting: Arc<Accounting>,
    /// The first one is running.
    queue: VecDeque<Work>,
    /// The deadline of the first one, since its first poll.
    deadline: Option<Deadline>,
    /// Dropped last, for a drain that waits for all of it.
    _counted: TaskCount,
}

impl WorkTask {
    pub(crate) fn new(accounting: Arc<Accounting>, queue: VecDeque<Work>) -> Self {
        let counted = TaskCount::begin(&accounting);
        WorkTask { accounting, queue, deadline: None, _counted: counted }
    }

    /// Drops the futures that have not begun, without reporting them.
    pub(crate) fn discard(mut self) {
        self.queue.clear();
    }

    /// Ends the first future, and reports its failure.
    fn end_first(&mut self, failure: Option<Error<Infallible>>) {
        self.deadline = None;
        let Some(Work { future, spawned_at, .. }) = self.queue.pop_front() else { return };
        drop(future);
        if let Some(error) = failure {
            self.accounting.task_failed(spawned_at, &error);
        }
    }
}

impl Future for WorkTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        while let Some(work) = this.queue.front_mut() {
            let limit = this.accounting.limits.task;
            let deadline = this.deadline.get_or_insert_with(|| Deadline::after(limit));
            let failure = match catch::call(|| work.future.as_mut().poll(cx)) {
                Ok(Poll::Ready(())) => None,
                Ok(Poll::Pending) if !work.is_limited => return Poll::Pending,
                Ok(Poll::Pending) => Some(ready!(deadline.poll_missed(Stage::Background, cx))),
                Err(panic) => Some(Error::panicked(Stage::Background, panic.payload())),
            };
            this.end_first(failure);
        }
        Poll::Ready(())
    }
}

impl Drop for WorkTask {
    fn drop(&mut self) {
        while !self.queue.is_empty() {
            let why =
                if Runtime::try_current().is_ok() { "the runtime is shutting down" } else { "there is no runtime" };
            self.end_first(Some(Error::runtime(why).at(Stage::Background)));
        }
    }
}
