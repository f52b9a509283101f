//! Polls futures by hand: no executor is part of what is measured.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Polls a future once.
#[inline(always)]
pub(crate) fn once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns the output of a future that never waits. Inlined, as an `.await` is, so that no call is part of what is
/// measured.
///
/// # Panics
///
/// Panics if the future waits.
#[inline(always)]
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match once(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing that is measured here waits"),
    }
}
