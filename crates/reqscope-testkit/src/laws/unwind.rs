use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;

pub(super) type Panic = Box<dyn Any + Send>;

/// Runs a future to its end, or to its panic.
pub(super) async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Continues a panic that was caught.
pub(super) fn resume<T>(answer: Result<T, Panic>) -> T {
    answer.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Drops a value while this thread unwinds. The panic is not printed.
pub(super) fn while_unwinding<T>(dropped: T) {
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _dropped_by_the_unwinding = dropped;
        resume_unwind(Box::new("the suite unwinds a thread"));
    }));
    drop(unwound);
}
