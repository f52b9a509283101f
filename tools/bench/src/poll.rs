//! Futures driven by hand: no executor is part of what is measured.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Polls once.
#[inline(always)]
pub(crate) fn once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that never waits. In line, as an `.await` is: no call of a helper is part of what is measured.
///
/// # Panics
///
/// If it does wait.
#[inline(always)]
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match once(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing that is measured here waits"),
    }
}
