//! Waits for the thread of a connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::{thread, time};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tokio::time::Instant;

/// Waits for a reply of the thread.
///
/// A paused clock stands still meanwhile. It advances to the next timer when its runtime has nothing to do, and does not
/// know of the thread: the timeout of the acquisition passed before the file was open. So the runtime is kept busy.
///
/// # Cancel safety
///
/// Cancel safe; the reply is lost.
pub(crate) async fn reply<T>(mut replied: oneshot::Receiver<T>) -> Result<T, RecvError> {
    let mut is_paused = None;
    poll_fn(|cx| {
        let polled = Pin::new(&mut replied).poll(cx);
        if polled.is_pending() && *is_paused.get_or_insert_with(is_clock_paused) {
            thread::yield_now();
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await
}

/// Returns whether the clock of this runtime is paused, as in a test with `start_paused`. Only a current-thread runtime's
/// can be, and tokio does not tell.
fn is_clock_paused() -> bool {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    if !matches!(flavor, Ok(RuntimeFlavor::CurrentThread)) {
        return false;
    }
    let (before, real) = (Instant::now(), time::Instant::now());
    // Until time has really passed, which is at once.
    while time::Instant::now() <= real {}
    Instant::now() == before
}
