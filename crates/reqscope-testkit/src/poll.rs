use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future once, with a waker that does nothing.
///
/// ```
/// use reqscope_testkit::poll_once;
/// use std::{future::ready, pin::pin, task::Poll};
///
/// assert_eq!(poll_once(pin!(ready(7))), Poll::Ready(7));
/// ```
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future up to `polls` times, with a waker that does nothing, and stops when it is ready.
///
/// ```
/// use reqscope_testkit::{Gate, poll_n};
/// use std::pin::pin;
///
/// let gate = Gate::open();
/// gate.slow(2);
/// let mut pass = pin!(gate.pass());
/// assert!(poll_n(2, pass.as_mut()).is_pending());
/// assert!(poll_n(1, pass).is_ready());
/// ```
pub fn poll_n<F: Future + ?Sized>(polls: usize, mut future: Pin<&mut F>) -> Poll<F::Output> {
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return Poll::Ready(output);
        }
    }
    Poll::Pending
}

/// Polls a future up to `polls` times, each time it is woken, and drops it if it is still pending then.
///
/// Returns `None` if the future was dropped, and its output if it finished. With `polls` = 0, 1, 2, … until the output
/// is `Some`, a future is cancelled at each of its awaits in turn:
///
/// ```
/// use reqscope_testkit::{Gate, cancel_at};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// for n in 0.. {
///     let gate = Gate::open();
///     gate.slow(3);
///     if cancel_at(n, gate.pass()).await.is_some() {
///         assert_eq!(n, 4);
///         break;
///     }
/// }
/// # });
/// ```
///
/// # Cancel safety
///
/// If this future is dropped, the inner one is dropped too.
pub async fn cancel_at<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // This was the last poll: cancel now, not at the next wake.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Counts how often its wakers were woken.
///
/// ```
/// use reqscope_testkit::{Gate, Wakes};
/// use std::{future::Future, pin::pin, task::Context};
///
/// let wakes = Wakes::new();
/// let waker = wakes.waker();
/// let gate = Gate::closed();
/// let mut pass = pin!(gate.pass());
/// assert!(pass.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
///
/// gate.ok();
/// assert_eq!(wakes.count(), 1);
/// ```
#[derive(Clone, Default)]
pub struct Wakes(Arc<Counter>);

#[derive(Default)]
struct Counter(AtomicU64);

impl Wakes {
    /// Creates a counter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a waker that counts here.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Returns how often the wakers were woken.
    pub fn count(&self) -> u64 {
        // Pairs with the increment: what was written before the wake is visible after this load.
        self.0.0.load(Ordering::Acquire)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
