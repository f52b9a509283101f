//! What stands behind [`crate::rt::runtime`] while models run: a runtime whose tasks are the checker's threads, and whose
//! clock stands still.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::future::{AtomicWaker, block_on};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use parking_lot::Mutex;
use tokio::runtime::RuntimeFlavor;
use tokio::time::Instant;

/// What only advances with time, as a janitor does, is not there.
pub(crate) const TIME_PASSES: bool = false;

/// It lives as long as the model.
#[derive(Clone)]
pub(crate) struct Runtime;

impl Runtime {
    pub(crate) fn try_current() -> Result<Runtime, NoRuntime> {
        Ok(Runtime)
    }

    /// There is one only.
    pub(crate) fn id(&self) -> usize {
        0
    }

    /// As that of one that may stand still.
    pub(crate) fn runtime_flavor(&self) -> RuntimeFlavor {
        RuntimeFlavor::CurrentThread
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle {
        let task = Arc::new(Task { aborted: AtomicBool::new(false), waker: AtomicWaker::new() });
        let own = Arc::clone(&task);
        TASKS.lock().push(Arc::clone(&task));
        let mut future = Box::pin(future);
        // Nobody joins it: a model is over when all its threads are, and one that is stuck fails it.
        drop(thread::spawn(move || {
            block_on(poll_fn(|cx| own.poll(future.as_mut(), cx)));
            // In this order, as a task that was aborted drops its future before it is over.
            drop(future);
            drop(own.waker.take_waker());
        }));
        JoinHandle { task }
    }
}

loom::lazy_static! {
    /// Those of this order. Not the checker's lock: it adds no order of its own.
    static ref TASKS: Mutex<Vec<Arc<Task>>> = Mutex::default();
}

/// Cuts off all tasks that there are, as the end of a runtime does.
pub(super) fn end_all_tasks() {
    let tasks = mem::take(&mut *TASKS.lock());
    tasks.into_iter().for_each(|task| AbortHandle { task }.abort());
}

/// Never told: there is always one.
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

/// Cancels as tokio's does: what is being polled ends its poll first.
pub(crate) struct AbortHandle {
    task: Arc<Task>,
}

impl AbortHandle {
    pub(crate) fn abort(&self) {
        self.task.aborted.store(true, Ordering::Release);
        self.task.waker.wake();
    }
}

/// Time does not pass, so no model passes for the reason that a deadline has.
pub(crate) struct Sleep;

pub(crate) fn sleep_until(_: Instant) -> Sleep {
    Sleep
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
