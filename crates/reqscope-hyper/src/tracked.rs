use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, Method, Request, Response, StatusCode};
use hyper::service::Service;
use pin_project_lite::pin_project;

use crate::slot::{ConnectionSlot, RunningRequest};

/// The user's service, for one connection: tracks the running requests, and adds the connection's extensions to each.
pub(crate) struct TrackedService<S> {
    inner: S,
    slot: Arc<ConnectionSlot>,
    extensions: Extensions,
}

impl<S> TrackedService<S> {
    pub(crate) fn new(inner: S, slot: Arc<ConnectionSlot>, extensions: Extensions) -> Self {
        TrackedService { inner, slot, extensions }
    }
}

impl<S, A, B> Service<Request<A>> for TrackedService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = TrackedFuture<S::Future>;

    fn call(&self, mut request: Request<A>) -> Self::Future {
        let running = self.slot.begin(&request);
        let connects = request.method() == Method::CONNECT;
        request.extensions_mut().extend(self.extensions.clone());
        TrackedFuture { handler: self.inner.call(request), connects, running }
    }
}

pin_project! {
    pub(crate) struct TrackedFuture<F> {
        #[pin]
        handler: F,
        connects: bool,
        // Dropped after the handler, so that every running handler can be named.
        running: RunningRequest,
    }
}

impl<F, B, E> Future for TrackedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.handler.poll(cx));
        if let Ok(response) = &answer {
            let status = response.status();
            // The same condition that hyper checks before it writes the head.
            if status == StatusCode::SWITCHING_PROTOCOLS || *this.connects && status.is_success() {
                this.running.slot().switch();
            }
        }
        Poll::Ready(answer)
    }
}
