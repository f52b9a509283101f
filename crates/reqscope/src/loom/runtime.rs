//! The replacement for [`crate::rt::runtime`] in models: a runtime whose tasks are loom's threads, and whose clock
//! stands still.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::future::{AtomicWaker, block_on};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Tasks that only advance with time, such as a janitor, do not run in models.
pub(crate) const TIME_PASSES: bool = false;

/// The number of a runtime.
pub(crate) type RuntimeId = usize;

/// The runtime of a model. It lives as long as the model.
#[derive(Clone)]
pub(crate) struct Runtime;

impl Runtime {
    pub(crate) fn try_current() -> Result<Runtime, NoRuntime> {
        Ok(Runtime)
    }

    /// Returns the same id for all: there is only one runtime.
    pub(crate) fn id(&self) -> RuntimeId {
        0
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle {
        let task = Arc::new(Task { aborted: AtomicBool::new(false), waker: AtomicWaker::new() });
        let own = Arc::clone(&task);
        TASKS.lock().push(Arc::clone(&task));
        let mut future = Box::pin(future);
        // Not joined: a model ends when all its threads have ended, and fails if one of them is stuck.
        drop(thread::spawn(move || {
            block_on(poll_fn(|cx| own.poll(future.as_mut(), cx)));
            // In this order, because an aborted task drops its future before it has ended.
            drop(future);
            drop(own.waker.take_waker());
        }));
        JoinHandle { task }
    }
}

loom::lazy_static! {
    /// The tasks of this order. Not under loom's lock, which would add orders of its own.
    static ref TASKS: Mutex<Vec<Arc<Task>>> = Mutex::default();
}

/// Aborts all tasks, like the end of a runtime.
pub(super) fn end_all_tasks() {
    let tasks = mem::take(&mut *TASKS.lock());
    tasks.into_iter().for_each(|task| AbortHandle { task }.abort());
}

/// Never constructed, because there is always a runtime.
pub(crate) struct NoRuntime;

struct Task {
    aborted: AtomicBool,
    waker: AtomicWaker,
}

impl Task {
    fn poll(&self, future: Pin<&mut impl Future<Output = ()>>, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register_by_ref(cx.waker());
        // Acquire, for the Release in `abort`.
        if self.aborted.load(Ordering::Acquire) { Poll::Ready(()) } else { future.poll(cx) }
    }
}

pub(crate) struct JoinHandle {
    task: Arc<Task>,
}

impl JoinHandle {
    pub(crate) fn abort_handle(&self) -> AbortHandle {
        AbortHandle { task: Arc::clone(&self.task) }
    }
}

/// Cancels like tokio's: a poll in progress ends first.
pub(crate) struct AbortHandle {
    task: Arc<Task>,
}

impl AbortHandle {
    pub(crate) fn abort(&self) {
        self.task.aborted.store(true, Ordering::Release);
        self.task.waker.wake();
    }
}

/// A timer that never fires, so that no model succeeds because of a deadline.
pub(crate) struct Sleep(Instant);

pub(crate) fn sleep_until(at: Instant) -> Sleep {
    Sleep(at)
}

impl Sleep {
    pub(crate) fn deadline(&self) -> Instant {
        self.0
    }

    pub(crate) fn is_elapsed(&self) -> bool {
        false
    }

    pub(crate) fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.0 = at;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
