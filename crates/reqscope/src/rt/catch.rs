//! Calls into user code, whose panics must not unwind any further.

use std::any::Any;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;

/// A panic of user code. The panic hook has reported it by the time it is caught.
pub(crate) struct Panic(Option<Box<dyn Any + Send>>);

impl Panic {
    pub(crate) fn payload(&self) -> &(dyn Any + Send) {
        self.0.as_deref().unwrap_or(&())
    }

    /// Continues the panic.
    pub(crate) fn resume(mut self) -> ! {
        resume_unwind(self.0.take().unwrap_or_else(|| Box::new(())))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        // The payload is a user's type, too, and may panic when it is dropped.
        drop_quietly(self.0.take());
    }
}

/// Calls user code, and returns its panic as an error.
///
/// `AssertUnwindSafe`: what the panic may have left half-done is only dropped afterwards.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Panic(Some(payload)))
}

/// Drops a user's value without a panic. For our own `Drop`s, in which a panic during unwinding would abort the process
/// (law L15).
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Forgotten, because dropping the payload might panic again.
        std::mem::forget(payload);
    }
}

pin_project! {
    /// A user's future, which ends with its panic as an error, and is dropped without one.
    pub(crate) struct Caught<F> {
        // `None` once it has ended.
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Caught<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut future = this.project().future;
            if future.is_some() {
                drop(call(|| future.set(None)));
            }
        }
    }
}

impl<F> Caught<F> {
    pub(crate) fn new(future: F) -> Self {
        Caught { future: Some(future) }
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panic>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let polled = call(|| {
            let output = ready!(future.as_mut().as_pin_mut().map_or(Poll::Pending, |future| future.poll(cx)));
            future.set(None);
            Poll::Ready(output)
        });
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// A user's value, which is dropped without a panic.
pub(crate) struct Quiet<T>(Option<T>);

/// A reference to a user's value. Dropping the last one drops the value without a panic.
pub(crate) struct QuietArc<T>(Option<Arc<T>>);

const NOT_DROPPED: &str = "only `drop` takes the value";

impl<T> Quiet<T> {
    pub(crate) fn new(value: T) -> Self {
        Quiet(Some(value))
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect(NOT_DROPPED)
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect(NOT_DROPPED)
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

impl<T> QuietArc<T> {
    #[inline]
    pub(crate) fn new(shared: &Arc<T>) -> Self {
        QuietArc(Some(Arc::clone(shared)))
    }

    #[inline]
    pub(crate) fn as_arc(&self) -> &Arc<T> {
        self.0.as_ref().expect(NOT_DROPPED)
    }
}

impl<T> Clone for QuietArc<T> {
    #[inline]
    fn clone(&self) -> Self {
        QuietArc::new(self.as_arc())
    }
}

impl<T> Deref for QuietArc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.as_arc()
    }
}

impl<T> Drop for QuietArc<T> {
    #[inline]
    fn drop(&mut self) {
        // Costs no more than the drop of an `Arc`, and of two drops at the same time exactly one gets the value.
        if let Some(value) = self.0.take().and_then(Arc::into_inner) {
            drop_last(value);
        }
    }
}

#[cold]
fn drop_last<T>(value: T) {
    drop_quietly(value);
}

/// Wakes all of them. One that panics stops neither the others nor the caller.
#[inline]
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    if !wakers.is_empty() {
        wakers.into_iter().for_each(wake);
    }
}

#[cold]
pub(crate) fn wake(waker: Waker) {
    drop_quietly(call(|| waker.wake()));
}
